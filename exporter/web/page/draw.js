// Elements. Texts only ever become text nodes and attributes, so that no name can be markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children, each a node or a text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for a picture. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Put a text in, unless it is there: what does not change can stay selected, and costs nothing. */
export function write(node, text, kind = null) {
  if (node.textContent !== text) node.textContent = text;
  if (kind !== null && node.className !== kind) node.className = kind;
}

/** Put other children in. */
export function replace(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null));
}
