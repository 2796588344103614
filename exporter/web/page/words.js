// Texts of the page. The exporter formats the numbers and judges what is good or bad: `text` and
// `standing` of each row.

const UNKNOWN = "–";
const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

/** A number of things, as text. */
export function count(value) {
  return value.toLocaleString("en");
}

/** The same with the name of the thing. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** The text of one number of a row, or of one of its partitions. */
export function told(row, key) {
  return row.text[key] ?? UNKNOWN;
}

/** The same, but empty if the number is zero. */
export function toldUnlessZero(row, key) {
  return row[key] ? told(row, key) : UNKNOWN;
}

export function isKnown(text) {
  return text !== UNKNOWN;
}

/** `for` and the time since the row's status changed. */
export function since(row) {
  return row.text.status_since === undefined ? "" : `for ${row.text.status_since}`;
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

/** A duration that the page itself has measured. */
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
