// The state of the page as the part of the address after `#`, so that reload, back and forward work
// and links can be shared.
//
// `#?filter=…&status=…&system=…&source=…&sort=…` is the list;
// `#/system/source/vhost/destination/group?…&range=…` is one subscription, and the list to go back to.

const KEYS = ["filter", "status", "system", "source", "sort", "range"];

/** The names of the shown subscription (`one`; null for the list), and the choices of the list. */
export function current() {
  const [path, query = ""] = splitOnce(location.hash.slice(1));
  const given = new URLSearchParams(query);
  const view = Object.fromEntries(KEYS.map((key) => [key, given.get(key) || ""]));
  return { ...view, one: namesIn(path) };
}

/** The address of the list, with these choices changed. */
export function listAddress(view, changes = {}) {
  return `#${query({ ...view, range: "", ...changes })}`;
}

/** The address of a subscription that keeps the choices of the list. */
export function rowAddress(row, view) {
  return `#${key(row)}${query({ ...view, range: "" })}`;
}

/** The key of a subscription. */
export function key(row) {
  const parts = [row.system, row.source, row.vhost, row.destination, row.group];
  return `/${parts.map((part) => encodeURIComponent(part || "")).join("/")}`;
}

/** Changes choices. Typing a text is one step for the back button. */
export function choose(changes, { typing = false } = {}) {
  const view = { ...current(), ...changes };
  const address = `#${view.one === null ? "" : key(view.one)}${query(view)}`;
  if (address === location.hash || (address === "#" && !location.hash)) return;
  if (typing && history.state === "typing") history.replaceState("typing", "", address);
  else history.pushState(typing ? "typing" : null, "", address);
}

function query(view) {
  const chosen = new URLSearchParams(KEYS.filter((name) => view[name]).map((name) => [name, view[name]]));
  return chosen.size ? `?${chosen}` : "";
}

function namesIn(path) {
  const parts = path.slice(1).split("/");
  if (!path.startsWith("/") || parts.length !== 5) return null;
  try {
    const [system, source, vhost, destination, group] = parts.map(decodeURIComponent);
    return { system, source, vhost, destination, group };
  } catch {
    return null;
  }
}

function splitOnce(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
