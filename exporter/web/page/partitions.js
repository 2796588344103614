// The partitions of one subscription, largest lag first.

import { element } from "./draw.js";
import { count, isKnown, told } from "./words.js";

const MOST = 200;

/** Columns of the table; one without any value is left out. */
const COLUMNS = [
  { title: "lag", text: (part) => told(part, "lag_messages") },
  { title: "age", text: (part) => told(part, "lag_seconds") },
  { title: "last movement", text: (part) => (part.text.unmoved_seconds === undefined ? "–" : `${part.text.unmoved_seconds} ago`) },
  { title: "committed", text: (part) => told(part, "committed_offset") },
  { title: "end offset", text: (part) => told(part, "end_offset") },
  { title: "start offset", text: (part) => told(part, "start_offset") },
  { title: "unacknowledged", text: (part) => told(part, "unacknowledged_messages") },
  { title: "consumers", text: (part) => told(part, "consumers") },
  { title: "consumer", text: (part) => ({ true: "assigned", false: "none" })[part.assigned] ?? "–" },
];

export function partitions(row) {
  const found = (row.partitions || []).filter((each) => each.partition !== null);
  if (!found.length) return null;
  found.sort((one, other) => (other.lag_messages ?? -1) - (one.lag_messages ?? -1));
  const shown = found.slice(0, MOST);
  const columns = COLUMNS.filter(({ text }) => shown.some((part) => isKnown(text(part))));
  const total = found.reduce((sum, each) => sum + (each.lag_messages || 0), 0);
  const share = (part) => (total ? (part.lag_messages || 0) / total : 0);
  return element("section", { "aria-label": "Partitions" },
    element("h3", {}, `${row.text.partitions}, largest lag first`),
    element("div", { class: "scroll", id: "scroll", tabindex: "0", role: "group", "aria-label": "Table of partitions" },
      element("table", { id: "partitions" },
        element("thead", {}, element("tr", {},
          element("th", { scope: "col" }, row.part),
          ...columns.map(({ title }) => element("th", { scope: "col", class: "n" }, title)),
          element("td", { class: "share" }))),
        element("tbody", {}, ...shown.map((part) => element("tr", {},
          element("th", { scope: "row" }, part.partition),
          ...columns.map(({ text }) => element("td", { class: "n" }, text(part))),
          element("td", { class: "share" }, element("progress", { max: 1, value: share(part), "aria-label": "share of the lag" }))))))),
    found.length > MOST ? element("p", { class: "faint" }, `… and ${count(found.length - MOST)} more in the JSON API`) : null);
}
