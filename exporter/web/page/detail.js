// One subscription: its numbers, the causes of its backlog, its history, its partitions, and where to read on.

import { listAddress } from "./address.js";
import { charts } from "./charts.js";
import { element, replace } from "./draw.js";
import { partitions } from "./partitions.js";
import { isKnown, moment, names, plain, since, told, toldUnlessZero } from "./words.js";

const METHODS = {
  time_index: "from the broker's timestamp index",
  record: "from the record's timestamp",
  head: "from the message at the head of the queue",
  percentile: "from nsqd's latency percentiles",
  estimate: "estimated from the counters",
};

/** A link to the list as it was. */
export function backLink(view) {
  return element("p", { class: "back" }, element("a", { href: listAddress(view), id: "back" }, "← all subscriptions"));
}

export function showDetail(place, row, { view, now, meanings, chooseRange }) {
  const { group, place: where, source } = names(row);
  replace(
    place,
    backLink(view),
    element("h2", { tabindex: "-1" }, group || where, " ", element("small", {}, `${group ? `on ${where}, ` : ""}${source} (${row.system})`)),
    element("p", {}, element("span", { class: `state ${row.stale ? "none" : row.standing}` }, plain(row.status)),
      row.status_since === null ? "" : ` since ${moment(row.status_since)}, ${since(row)}`,
      meanings[row.status] ? element("small", { class: "meaning" }, meanings[row.status]) : null),
    row.stale ? element("p", { class: "banner" }, `The source cannot be read. These are the values of ${told(row, "values_age_seconds")} ago.`) : null,
    row.text.loss ? element("p", { class: "bad" }, row.text.loss) : null,
    row.status_reason && row.status_reason !== row.causes[0]?.evidence ? element("p", {}, row.status_reason) : null,
    causes(row),
    facts(row),
    row.history ? charts(row, { range: view.range, now, choose: chooseRange }) : null,
    partitions(row),
    further(row, view),
  );
  place.className = row.stale ? "old" : "";
}

function causes(row) {
  if (!row.causes.length) return null;
  return element("section", { "aria-label": "Causes" },
    element("h3", {}, "Likely causes, most likely first"),
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
    ["scaling advice", told(row, "scaling"), row.scaling?.reason ?? ""],
    ["consumers", told(row, "consumers"), [row.group_state && `group: ${plain(row.group_state)}`, row.consumers_expected ? "" : "none expected"].filter(Boolean).join(", ")],
    ["drained in", row.drains === false && row.status !== "ok" ? "never, at the current rates" : told(row, "time_to_drain_seconds"), ""],
    ["unread messages deleted in", told(row, "time_to_loss_seconds"), ""],
    ["not committed", toldUnlessZero(row, "uncommitted_messages"), "messages on partitions without a committed offset"],
    ["past the log end", toldUnlessZero(row, "past_end_messages"), "new messages that will be skipped"],
    ["partitions that cannot be read", toldUnlessZero(row, "unreadable_partitions"), ""],
    ["lost", told(row, "lost_messages"), "since the exporter started"],
    ["redelivered", told(row, "redelivered_messages"), "since the exporter started"],
    ["deferred", toldUnlessZero(row, "deferred_messages"), "not part of the lag"],
    ["commit interval", toldUnlessZero(row, "commit_interval_seconds"), "longest recent gap between two movements"],
  ];
  return element("dl", { class: "facts" }, ...shown.filter(([, value]) => isKnown(value)).map(([term, value, more]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value), more ? element("dd", { class: "more" }, more) : null)));
}

function threshold(row, key) {
  const limit = row.text.thresholds[key];
  return limit === undefined ? "" : `threshold ${limit}`;
}

/** Runbooks, the dashboard's path and the same data as JSON. */
function further(row, view) {
  const { runbooks, dashboard } = row.links;
  const json = new URLSearchParams({ ...view.one, partitions: "true", history: "true" });
  return element("section", { "aria-label": "Read on" }, element("h3", {}, "Read on"),
    element("ul", { class: "further" },
      ...runbooks.map(({ name, url }, index) => element("li", {}, "Runbook ",
        element("a", { href: url, id: `runbook-${index}`, rel: "noreferrer" }, name))),
      element("li", {}, "JSON ", element("a", { href: `api/v1/subscriptions?${json}`, id: "json" }, "this subscription")),
      element("li", {}, "Grafana, path of the dashboard: ", element("code", {}, dashboard))));
}
