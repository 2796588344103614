// One subscription: its numbers, the causes of its backlog, the last hour, its partitions.

import { chart, element, replace } from "./draw.js";
import { age, duration, lag, moment, names, number, plain, rate, standing } from "./words.js";

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
  const kind = standing(row);
  replace(
    place,
    element("p", {}, element("a", { href: "#", id: "back" }, "← all subscriptions")),
    element("h2", { tabindex: "-1" }, group || where, " ", element("small", {}, `${group ? `on ${where}, ` : ""}${source} (${row.system})`)),
    element("p", {}, element("span", { class: `state ${kind}` }, plain(row.status)),
      row.status_since === null ? "" : ` since ${moment(row.status_since)}, for ${duration(Math.max(row.now - row.status_since, 0))}`),
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
  const limits = row.thresholds;
  const off = row.lag_seconds_uncertainty;
  const shown = [
    ["lag", lag(row), past(limits.lag_messages, number)],
    ["age of the oldest message", age(row), [METHODS[row.lag_seconds_method], off === null ? "" : `error at most ${duration(off)}`, past(limits.lag_seconds, duration)].filter(Boolean).join(", ")],
    ["in /s", rate(row.produced_messages_per_second), ""],
    ["out /s", rate(row.consumed_messages_per_second), ""],
    ["consumers", number(row.consumers), [row.group_state && plain(row.group_state), row.consumers_expected ? "" : "none expected"].filter(Boolean).join(", ")],
    ["drained in", row.drains === false ? "never, at the current rates" : duration(row.time_to_drain_seconds), ""],
    ["unread messages deleted in", row.time_to_loss_seconds === null ? "–" : duration(row.time_to_loss_seconds), ""],
    ["not committed", number(row.uncommitted_messages || null), "messages on partitions without a committed offset"],
    ["past the log end", number(row.past_end_messages || null), "new messages that will be skipped"],
    ["partitions that cannot be read", number(row.unreadable_partitions || null), ""],
    ["lost", number(row.lost_messages), "since the exporter started"],
    ["redelivered", number(row.redelivered_messages), "since the exporter started"],
    ["deferred", number(row.deferred_messages || null), "not part of the lag"],
    ["commit interval", duration(row.commit_interval_seconds), "longest recent gap between two movements"],
  ];
  return element("dl", { class: "facts" }, ...shown.filter(([, value]) => value !== "–").map(([term, value, more]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value), more ? element("small", {}, more) : null)));
}

function past(limit, format) {
  return limit === null ? "" : `threshold ${format(limit)}`;
}

function charts(row) {
  const span = row.history.lag_messages.length * row.history.step_seconds;
  const limits = row.thresholds;
  const pictures = [
    ["lag", ["lag_messages"], limits.lag_messages, number, null],
    ["age", ["lag_seconds"], limits.lag_seconds === null ? null : limits.lag_seconds + row.commit_interval_seconds, duration, null],
    ["messages per second", ["produced_messages_per_second", "consumed_messages_per_second"], null, rate, ["in", "out"]],
  ];
  return element("section", { "aria-label": "The last hour" }, element("h3", {}, `The last ${duration(span)}`),
    element("div", { class: "charts" }, ...pictures.map(([title, columns, limit, format, keys]) => {
      const most = Math.max(0, ...columns.flatMap((column) => row.history[column]).filter((value) => value !== null));
      const legend = keys === null ? title : element("span", {}, `${title}: `,
        element("span", { class: "key" }, keys[0]), " ", element("span", { class: "key second" }, keys[1]));
      return element("figure", {},
        element("figcaption", {}, legend, element("span", {}, `max ${format(most)}`)),
        chart(row.history, columns, `${title}, maximum ${format(most)}`, limit));
    })));
}

function parts(row) {
  const found = (row.partitions || []).filter((each) => each.partition !== null);
  if (!found.length) return null;
  found.sort((one, other) => (other.lag_messages ?? -1) - (one.lag_messages ?? -1));
  const total = found.reduce((sum, each) => sum + (each.lag_messages || 0), 0);
  const what = row.system === "nsq" ? "nsqd" : "partition";
  return element("section", { "aria-label": "Partitions" },
    element("h3", {}, `${number(found.length)} ${what}${found.length === 1 || what === "nsqd" ? "" : "s"}, largest lag first`),
    element("table", { id: "partitions" },
      element("thead", {}, element("tr", {}, ...[what, "lag", "", "age", "committed"].map((text) => element("th", { scope: "col", class: text === what || text === "" ? "" : "n" }, text)))),
      element("tbody", {}, ...found.slice(0, PARTS).map((each) => element("tr", {},
        element("td", {}, each.partition),
        element("td", { class: "n" }, number(each.lag_messages)),
        element("td", {}, element("progress", { max: 1, value: total ? (each.lag_messages || 0) / total : 0, "aria-label": "share of the lag" })),
        element("td", { class: "n" }, duration(each.lag_seconds)),
        element("td", { class: "n" }, number(each.committed_offset)))))),
    found.length > PARTS ? element("p", { class: "faint" }, `… and ${number(found.length - PARTS)} more in the JSON API`) : null);
}
