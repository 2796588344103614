// Texts of the page. How numbers read, and what is good or bad, comes from the exporter: `text` and `standing` of each row.

const UNKNOWN = "–";
const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

/** How many there are of something. */
export function count(value) {
  return value.toLocaleString("en");
}

/** The same with the thing counted. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** The text of one number of a row, or of a part of it. */
export function told(row, key) {
  return row.text[key] ?? UNKNOWN;
}

/** The same, with nothing to show where the number is zero. */
export function toldUnlessZero(row, key) {
  return row[key] ? told(row, key) : UNKNOWN;
}

export function isKnown(text) {
  return text !== UNKNOWN;
}

/** `for` and how long the row has had its status. */
export function since(row) {
  return row.text.status_since === undefined ? "" : `for ${row.text.status_since}`;
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

/** How long something took that the page itself has measured. */
export function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [unit, size] = UNITS.find(([, least]) => whole >= least) ?? ["s", 1];
  return `${count(Math.floor(whole / size))} ${unit}`;
}

export function plain(word) {
  return (word || "").replaceAll("_", " ");
}

/** The name of a subscription: its group, if any, and its destination with the vhost. */
export function names(row) {
  return { group: seen(row.group || ""), place: seen(row.text.destination), source: row.source };
}

/** Puts a name without visible characters in quotes. */
function seen(name) {
  return name && !/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(name) ? `"${name}"` : name;
}
