// The table of subscriptions, the worst first. Rows are reused for the next response; only changed
// cells are written.

import { element, replace, sparkline, write } from "./draw.js";
import { count, names, plain, since, told } from "./words.js";

const STATUSES = ["stopped", "stalled", "retry_loop", "past_end", "rewound", "lagging", "falling_behind", "abandoned", "unknown", "uncommitted", "ok"];
const known = new Map();

/** The key of a subscription, which is also its address: `#source/…`. */
export function address(row) {
  const parts = [row.system, row.source, row.vhost, row.destination, row.group];
  return `#/${parts.map((part) => encodeURIComponent(part || "")).join("/")}`;
}

export function showSources(list, sources) {
  replace(list, ...sources.map((source) => {
    const state = source.up ? "up" : plain(source.reason) || "not read yet";
    const more = [source.message, ...source.alarms];
    if (source.series_dropped) more.push(`${count(source.series_dropped)} series left out`);
    const text = [state, ...more].filter(Boolean).join(": ");
    const kind = source.up ? (source.alarms.length ? "unsure" : "good") : "bad";
    return element("li", {}, `${source.source} (${source.system}) `, element("span", { class: kind }, text));
  }));
}

/** Buttons that add a status to the filter or remove it. `standings` has the worst standing of each. */
export function showStatuses(list, { statuses: counts, standings }, chosen, choose) {
  const present = STATUSES.filter((status) => counts[status] || status === chosen);
  if (list.children.length === present.length && [...list.children].every((item, index) => {
    const button = item.firstChild;
    const status = present[index];
    if (button.value !== status) return false;
    write(button, label(status, counts));
    button.setAttribute("aria-pressed", String(status === chosen));
    return true;
  })) return;
  replace(list, ...present.map((status) => {
    const button = element("button", {
      type: "button", value: status, class: standings[status] || "unsure", "aria-pressed": String(status === chosen),
    }, label(status, counts));
    button.addEventListener("click", () => choose(button.getAttribute("aria-pressed") === "true" ? "" : status));
    return element("li", {}, button);
  }));
}

function label(status, counts) {
  return `${count(counts[status] || 0)} ${plain(status)}`;
}

export function showRows(body, rows) {
  const focused = document.activeElement;
  const present = new Set();
  rows.forEach((row, index) => {
    const key = address(row);
    present.add(key);
    const line = known.get(key) || added(key);
    fill(line, row);
    if (body.children[index] !== line.row) body.insertBefore(line.row, body.children[index] || null);
  });
  for (const [key, line] of known) {
    if (!present.has(key)) {
      line.row.remove();
      known.delete(key);
    }
  }
  if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
}

function added(key) {
  const cell = (kind, text = null) => element("td", { class: kind, "data-label": text });
  const link = element("a", { href: key });
  const place = element("span", { class: "faint" });
  const line = {
    link, place,
    state: element("span", { class: "state" }),
    since: element("small"),
    lag: cell("n", "lag"), spark: cell("line"), age: cell("n", "age"), produced: cell("n", "in /s"), consumed: cell("n", "out /s"),
    consumers: cell("n", "consumers"), why: cell("why"),
    drawn: "",
  };
  const state = element("td", { class: "status" }, line.state, element("br"), line.since);
  const name = element("td", { class: "name" }, link, element("br"), place);
  line.row = element("tr", {}, state, name, line.lag, line.spark, line.age, line.produced, line.consumed, line.consumers, line.why);
  known.set(key, line);
  return line;
}

function fill(line, row) {
  const { group, place, source } = names(row);
  const kind = row.standing;
  write(line.link, group || place);
  write(line.place, group ? `on ${place} (${source})` : `(${source})`);
  write(line.state, plain(row.status), `state ${kind}`);
  write(line.since, since(row));
  const tone = kind === "bad" ? "n bad" : "n";
  write(line.lag, told(row, "lag_messages"), tone);
  write(line.age, told(row, "lag_seconds"), tone);
  write(line.produced, told(row, "produced_messages_per_second"));
  write(line.consumed, told(row, "consumed_messages_per_second"));
  write(line.consumers, told(row, "consumers"));
  write(line.why, row.text.why);
  const shape = row.history ? `${row.history.lag_messages}` : "";
  if (shape !== line.drawn) {
    replace(line.spark, sparkline(row.history, "lag_messages", `lag in the last hour, now ${told(row, "lag_messages")}`));
    line.drawn = shape;
  }
}
