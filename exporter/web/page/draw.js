// Elements and lines. Texts become only text nodes and attributes, so that no name can be markup.

const SVG = "http://www.w3.org/2000/svg";

/** Creates an element with attributes and children. A child is a node or a text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
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

const WIDTH = 100;
const HEIGHT = 30;

/** A path through the known points, interrupted at unknown ones. */
function path(values, count, top) {
  let text = "";
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    const x = count > 1 ? ((index + count - values.length) / (count - 1)) * WIDTH : 0;
    const y = HEIGHT - (top > 0 ? Math.min(value / top, 1) : 0) * HEIGHT;
    text += `${open ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
    open = true;
  });
  return text;
}

/** A small line chart of one column of a subscription's history, for the table. */
export function sparkline(history, column, title) {
  const values = history ? history[column] : [];
  return picture("spark", [values], title, null, Math.max(values.length, 20));
}

/** A chart of one or two columns, with the threshold if it is within the range. */
export function chart(history, columns, title, limit) {
  const curves = columns.map((column) => history[column]);
  return picture("chart", curves, title, limit, Math.max(...curves.map((values) => values.length), 2));
}

function picture(kind, curves, title, limit, count) {
  const most = Math.max(0, ...curves.flat().filter((value) => value !== null));
  const shows = limit !== null && limit <= Math.max(most * 3, 1);
  const top = Math.max(most, shows ? limit * 1.1 : 0);
  const lines = curves.map((values, index) =>
    drawn("path", { class: index ? "curve second" : "curve", d: path(values, count, top) }));
  const [first] = curves;
  const start = first.findIndex((value) => value !== null);
  const area = curves.length === 1 && start >= 0 && first.slice(start).every((value) => value !== null)
    ? drawn("path", { class: "area", d: `${path(first, count, top)}V${HEIGHT}H${(((start + count - first.length) / Math.max(count - 1, 1)) * WIDTH).toFixed(2)}Z` })
    : null;
  const level = shows && top > 0 ? HEIGHT - (limit / top) * HEIGHT : null;
  return drawn(
    "svg",
    { class: kind, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    area,
    level === null ? null : drawn("line", { class: "limit", x1: 0, x2: WIDTH, y1: level.toFixed(2), y2: level.toFixed(2) }),
    ...lines,
  );
}
