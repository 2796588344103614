// Elements. Texts become only text nodes and attributes, so that no name can be markup.

const SVG = "http://www.w3.org/2000/svg";

/** Creates an element with attributes and children. A child is a node or a text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
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

/** Sets the text if it differs. An unchanged text stays selected, and costs nothing. */
export function write(node, text, kind = null) {
  if (node.textContent !== text) node.textContent = text;
  if (kind !== null && node.className !== kind) node.className = kind;
}

/** Replaces the children. */
export function replace(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null));
}
