// The table of subscriptions. Rows are reused for the next response; only changed cells are written.

import { key, rowAddress } from "./address.js";
import { element, replace, write } from "./draw.js";
import { sparkline } from "./spark.js";
import { count, names, plain, since, told } from "./words.js";

const known = new Map();

export function showRows(body, rows, view) {
  const focused = document.activeElement;
  const present = new Set();
  rows.forEach((row, index) => {
    const name = key(row);
    present.add(name);
    const line = known.get(name) || added(name);
    fill(line, row, view);
    if (body.children[index] !== line.row) body.insertBefore(line.row, body.children[index] || null);
  });
  for (const [name, line] of known) {
    if (!present.has(name)) {
      line.row.remove();
      known.delete(name);
    }
  }
  if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
}

/** The link of a subscription in the list, if it is there. */
export function linkOf(names) {
  return known.get(key(names))?.link;
}

function added(name) {
  const cell = (kind, text = null) => element("td", { class: kind, "data-label": text });
  const line = {
    link: element("a"),
    place: element("span", { class: "faint" }),
    source: element("span", { class: "faint source" }),
    state: element("span", { class: "state" }),
    since: element("small"),
    name: cell("name"), lag: cell("n", "lag"), spark: cell("line"), age: cell("n", "age"), produced: cell("n", "in /s"),
    consumed: cell("n", "out /s"), consumers: cell("n", "consumers"), why: cell("why"),
    drawn: "",
  };
  const state = element("td", { class: "status" }, line.state, " ", line.since);
  line.name.append(line.link, " ", line.place, " ", line.source);
  line.row = element("tr", {}, state, line.name, line.lag, line.spark, line.age, line.produced, line.consumed, line.consumers, line.why);
  known.set(name, line);
  return line;
}

function fill(line, row, view) {
  const { group, place, source } = names(row);
  const kind = row.standing;
  line.link.setAttribute("href", rowAddress(row, view));
  write(line.link, group || place);
  write(line.place, group ? `on ${place}` : "");
  write(line.source, `(${source})`);
  hint(line.name, `${group ? `${group} on ${place}` : place} (${source})`);
  if (line.row.className !== (row.stale ? "old" : "")) line.row.className = row.stale ? "old" : "";
  write(line.state, row.stale ? `was ${plain(row.status)}` : plain(row.status), `state ${row.stale ? "none" : kind}`);
  write(line.since, row.stale ? `${told(row, "values_age_seconds")} ago` : since(row));
  const tone = kind === "bad" && !row.stale ? "n bad" : "n";
  show(line.lag, told(row, "lag_messages"), tone);
  show(line.age, told(row, "lag_seconds"), tone);
  show(line.produced, told(row, "produced_messages_per_second"));
  show(line.consumed, told(row, "consumed_messages_per_second"));
  show(line.consumers, told(row, "consumers"));
  show(line.why, row.text.why);
  const shape = row.history ? `${row.history.lag_messages}` : "";
  if (shape !== line.drawn) {
    replace(line.spark, sparkline(row.history, "lag_messages", `lag in the last hour, now ${told(row, "lag_messages")}`));
    line.drawn = shape;
  }
}

/** Sets the text of a cell that may cut it off. */
function show(cell, text, kind = null) {
  write(cell, text, kind);
  hint(cell, text);
}

/** Sets the tooltip: the whole text. */
function hint(cell, text) {
  if (cell.title !== text) cell.title = text;
}

/** The line below the table: the number of further rows, and a button until `most` are shown. */
export function showRest(parts, { left, limit, most }) {
  parts.rest.hidden = left <= 0;
  parts.more.hidden = left <= 0 || limit >= most;
  if (left <= 0) return;
  write(parts.more, `show ${count(Math.min(left, limit))} more of ${count(left)}`);
  write(parts.narrow, limit < most ? "" : `${count(left)} more: narrow the filter to see them`);
}
