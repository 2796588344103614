// One subscription: its numbers, the causes of its backlog, the last hour, its partitions.

import { chart, element, replace } from "./draw.js";
import { count, isKnown, moment, names, plain, since, told, toldUnlessZero } from "./words.js";

const METHODS = {
  time_index: "from the broker's timestamp index",
  record: "from the record's timestamp",
  head: "from the message at the head of the queue",
  percentile: "from nsqd's latency percentiles",
  estimate: "estimated from the counters",
};
const PARTS = 200;

export function showDetail(place, row) {
  const { group, place: where, source } = names(row);
  replace(
    place,
    element("p", {}, element("a", { href: "#", id: "back" }, "← all subscriptions")),
    element("h2", { tabindex: "-1" }, group || where, " ", element("small", {}, `${group ? `on ${where}, ` : ""}${source} (${row.system})`)),
    element("p", {}, element("span", { class: `state ${row.standing}` }, plain(row.status)),
      row.status_since === null ? "" : ` since ${moment(row.status_since)}, ${since(row)}`),
    row.status_reason ? element("p", {}, row.status_reason) : null,
    causes(row),
    facts(row),
    row.history ? charts(row) : null,
    parts(row),
  );
}

function causes(row) {
  if (!row.causes.length) return null;
  return element("section", { "aria-label": "Causes" }, element("h3", {}, "Likely causes, most likely first"),
    element("ol", { class: "causes" }, ...row.causes.map((each) =>
      element("li", {}, element("strong", {}, plain(each.cause)), `: ${each.evidence}`))));
}

function facts(row) {
  const off = row.text.lag_seconds_uncertainty;
  const shown = [
    ["lag", told(row, "lag_messages"), threshold(row, "lag_messages")],
    ["age of the oldest message", told(row, "lag_seconds"), [METHODS[row.lag_seconds_method], off === undefined ? "" : `error at most ${off}`, threshold(row, "lag_seconds")].filter(Boolean).join(", ")],
    ["in /s", told(row, "produced_messages_per_second"), ""],
    ["out /s", told(row, "consumed_messages_per_second"), ""],
    ["consumers", told(row, "consumers"), [row.group_state && plain(row.group_state), row.consumers_expected ? "" : "none expected"].filter(Boolean).join(", ")],
    ["drained in", row.drains === false ? "never, at the current rates" : told(row, "time_to_drain_seconds"), ""],
    ["unread messages deleted in", told(row, "time_to_loss_seconds"), ""],
    ["not committed", toldUnlessZero(row, "uncommitted_messages"), "messages on partitions without a committed offset"],
    ["past the log end", toldUnlessZero(row, "past_end_messages"), "new messages that will be skipped"],
    ["partitions that cannot be read", toldUnlessZero(row, "unreadable_partitions"), ""],
    ["lost", told(row, "lost_messages"), "since the exporter started"],
    ["redelivered", told(row, "redelivered_messages"), "since the exporter started"],
    ["deferred", toldUnlessZero(row, "deferred_messages"), "not part of the lag"],
    ["commit interval", told(row, "commit_interval_seconds"), "longest recent gap between two movements"],
  ];
  return element("dl", { class: "facts" }, ...shown.filter(([, value]) => isKnown(value)).map(([term, value, more]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value), more ? element("small", {}, more) : null)));
}

function threshold(row, key) {
  const limit = row.text.thresholds[key];
  return limit === undefined ? "" : `threshold ${limit}`;
}

function charts(row) {
  const limits = row.thresholds;
  const most = row.text.history;
  const pictures = [
    ["lag", ["lag_messages"], limits.lag_messages, null],
    ["age", ["lag_seconds"], limits.lag_seconds === null ? null : limits.lag_seconds + row.commit_interval_seconds, null],
    ["messages per second", ["produced_messages_per_second", "consumed_messages_per_second"], null, ["in", "out"]],
  ];
  return element("section", { "aria-label": "The last hour" }, element("h3", {}, `The last ${most.span}`),
    element("div", { class: "charts" }, ...pictures.map(([title, columns, limit, keys]) => {
      const largest = most[highest(row.history, columns)];
      const legend = keys === null ? title : element("span", {}, `${title}: `,
        element("span", { class: "key" }, keys[0]), " ", element("span", { class: "key second" }, keys[1]));
      return element("figure", {},
        element("figcaption", {}, legend, element("span", {}, `max ${largest}`)),
        chart(row.history, columns, `${title}, maximum ${largest}`, limit));
    })));
}

/** The column with the largest value. */
function highest(history, columns) {
  const peak = (column) => Math.max(0, ...history[column]);
  return columns.reduce((one, other) => (peak(other) > peak(one) ? other : one));
}

function parts(row) {
  const found = (row.partitions || []).filter((each) => each.partition !== null);
  if (!found.length) return null;
  found.sort((one, other) => (other.lag_messages ?? -1) - (one.lag_messages ?? -1));
  const total = found.reduce((sum, each) => sum + (each.lag_messages || 0), 0);
  const what = row.part;
  return element("section", { "aria-label": "Partitions" },
    element("h3", {}, `${row.text.partitions}, largest lag first`),
    element("table", { id: "partitions" },
      element("thead", {}, element("tr", {}, ...[what, "lag", "", "age", "committed"].map((text) => element("th", { scope: "col", class: text === what || text === "" ? "" : "n" }, text)))),
      element("tbody", {}, ...found.slice(0, PARTS).map((each) => element("tr", {},
        element("td", {}, each.partition),
        element("td", { class: "n" }, told(each, "lag_messages")),
        element("td", {}, element("progress", { max: 1, value: total ? (each.lag_messages || 0) / total : 0, "aria-label": "share of the lag" })),
        element("td", { class: "n" }, told(each, "lag_seconds")),
        element("td", { class: "n" }, told(each, "committed_offset")))))),
    found.length > PARTS ? element("p", { class: "faint" }, `… and ${count(found.length - PARTS)} more in the JSON API`) : null);
}
