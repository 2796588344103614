// The history of one subscription as charts with a time axis. Pointing at one of them shows the
// values of all charts at that time.

import { drawn, element, write } from "./draw.js";
import { area, curve, down, HEIGHT, WIDTH } from "./spark.js";
import { moment } from "./words.js";

const RANGES = [["15m", "15 min", 900], ["1h", "1 h", 3600], ["6h", "6 h", 21600]];
const TICKS = 4;
const REBALANCE = "rebalance";
const LAST = "last commit";
const KINDS = { [REBALANCE]: "rebalance", [LAST]: "commit" };
let pointed = null; // the Unix time under the pointer

/** The part of the history that the range shows, oldest first. */
function cut(row, range) {
  const { step_seconds: step, start, ...columns } = row.history;
  const all = Math.max(...Object.values(columns).map((values) => values.length));
  const [, , seconds] = RANGES.find(([name]) => name === range) ?? RANGES.at(-1);
  const count = Math.min(all, Math.ceil(seconds / step) + 1);
  const first = all - count;
  const part = (values) => values.slice(first);
  return {
    step, count, start: start + first * step,
    columns: Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, part(values)])),
    texts: Object.fromEntries(Object.entries(row.text.points ?? {}).map(([name, texts]) => [name, part(texts)])),
  };
}

/** Charts of lag, age and rates, and the ranges to choose from as far as the history reaches. */
export function charts(row, { range, now, choose }) {
  const seen = cut(row, range);
  const limits = row.thresholds;
  const pictures = [
    { title: "lag", columns: ["lag_messages"], limit: limits.lag_messages, limitText: row.text.thresholds.lag_messages },
    {
      title: "age", columns: ["lag_seconds"], limitText: row.text.thresholds.lag_seconds,
      limit: limits.lag_seconds === null ? null : limits.lag_seconds + row.commit_interval_seconds,
    },
    { title: "messages per second", columns: ["produced_messages_per_second", "consumed_messages_per_second"], keys: ["in", "out"], limit: null },
  ];
  const end = seen.start + (seen.count - 1) * seen.step;
  const marks = events(row, now, seen.step).filter(({ at }) => at >= seen.start && at <= end);
  const figures = pictures.map((picture) => figure(picture, seen, marks));
  const show = () => figures.forEach((each) => each.point(pointed));
  const group = element("div", { class: "charts", id: "charts", tabindex: "0", role: "group", "aria-label": "Charts; left and right arrow show values" },
    ...figures.map((each) => each.node));
  listen(group, seen, show);
  show();
  return element("section", { "aria-labelledby": "history-title" },
    element("div", { class: "title" },
      element("h3", { id: "history-title" }, "History"),
      rangeButtons(row, range, choose),
      element("span", { class: "faint" }, `${row.text.history.span} kept here, more in Grafana`),
      ...[...new Set(marks.map(({ what }) => what))].map((what) =>
        element("span", { class: "faint" }, element("span", { class: `mark ${KINDS[what]}` }, "┆"), ` ${what}`))),
    group);
}

/** When the group rebalanced, and its last commit where that is some time ago; `now` is the time of the values. */
function events(row, now, step) {
  const unmoved = (row.partitions ?? []).map((part) => part.unmoved_seconds).filter((seconds) => typeof seconds === "number");
  const still = Math.min(...unmoved);
  const commit = unmoved.length && still > step ? [{ at: now - still, what: LAST }] : [];
  return [...(row.rebalanced_at ?? []).map((at) => ({ at, what: REBALANCE })), ...commit];
}

function rangeButtons(row, range, choose) {
  const { step_seconds: step, start, ...columns } = row.history;
  const span = Math.max(...Object.values(columns).map((values) => values.length)) * step;
  const reaches = RANGES.filter((_, index) => index === 0 || span > RANGES[index - 1][2]);
  const chosen = reaches.find(([name]) => name === range) ?? reaches.at(-1);
  return element("span", { class: "ranges", role: "group", "aria-label": "Range" }, ...reaches.map((each) => {
    const [name, text] = each;
    const button = element("button", { type: "button", id: `range-${name}`, "aria-pressed": String(each === chosen) }, text);
    button.addEventListener("click", () => choose(name));
    return button;
  }));
}

/** One picture with its caption and axes; `point` shows the values at a time, or the largest one. */
function figure({ title, columns, keys = null, limit, limitText }, seen, marks) {
  const curves = columns.map((column) => seen.columns[column]);
  const most = Math.max(0, ...curves.flat());
  const shows = limit !== null && limit <= Math.max(most * 3, 1);
  const top = Math.max(most, shows ? limit * 1.1 : 0);
  const largest = largestText(columns, seen, most);
  const rule = drawn("line", { class: "rule", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const value = element("output", { class: "value" });
  const name = keys === null ? title : element("span", {}, `${title}: `,
    element("span", { class: "key" }, keys[0]), " ", element("span", { class: "key second" }, keys[1]));
  const count = Math.max(seen.count, 2);
  const ticks = Array.from({ length: TICKS }, (_, index) => index / (TICKS - 1));
  const svg = drawn("svg",
    { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}, maximum ${largest}` },
    ...ticks.map((part) => drawn("line", { class: "grid", x1: part * WIDTH, x2: part * WIDTH, y1: 0, y2: HEIGHT })),
    drawn("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
    curves.length === 1 ? area(curves[0], count, top) : null,
    shows ? drawn("line", { class: "limit", x1: 0, x2: WIDTH, y1: down(limit, top), y2: down(limit, top) }) : null,
    ...marks.map(({ at, what }) => {
      const x = ((at - seen.start) / seen.step / (count - 1)) * WIDTH;
      return drawn("line", { class: `mark ${KINDS[what]}`, x1: x, x2: x, y1: 0, y2: HEIGHT }, drawn("title", {}, `${what} at ${moment(at)}`));
    }),
    ...curves.map((values, index) => drawn("path", { class: index ? "curve second" : "curve", d: curve(values, count, top) })),
    rule);
  const end = seen.start + (seen.count - 1) * seen.step;
  const axis = element("div", { class: "axis", "aria-hidden": "true" }, ...ticks.map((part) =>
    element("span", {}, clock(seen.start + part * (end - seen.start), end - seen.start))));
  const usual = `max ${largest}${limitText !== undefined ? ` · threshold ${limitText}` : ""}`;
  return {
    node: element("figure", {}, element("figcaption", {}, name, value), svg, axis),
    point(at) {
      const index = at === null ? -1 : nearest(seen, at);
      rule.setAttribute("visibility", index < 0 ? "hidden" : "visible");
      const x = (index / (count - 1)) * WIDTH;
      rule.setAttribute("x1", x);
      rule.setAttribute("x2", x);
      write(value, index < 0 ? usual : `${moment(seen.start + index * seen.step)}  ${columns.map((column) => seen.texts[column]?.[index] ?? "–").join(" / ")}`);
    },
  };
}

function largestText(columns, seen, most) {
  for (const column of columns) {
    const index = seen.columns[column].indexOf(most);
    if (index >= 0) return seen.texts[column]?.[index] ?? "–";
  }
  return "0";
}

function nearest(seen, at) {
  return Math.min(Math.max(Math.round((at - seen.start) / seen.step), 0), seen.count - 1);
}

/** Hours and minutes; seconds, too, where the axis is short. */
function clock(seconds, span) {
  const text = moment(seconds);
  return span < 600 ? text : text.slice(0, 5);
}

function listen(group, seen, show) {
  const timeAt = (event) => {
    const svg = event.target.closest("figure")?.querySelector("svg");
    if (!svg) return null;
    const box = svg.getBoundingClientRect();
    const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return seen.start + part * (seen.count - 1) * seen.step;
  };
  const set = (at) => {
    pointed = at;
    show();
  };
  group.addEventListener("pointermove", (event) => set(timeAt(event)));
  group.addEventListener("pointerleave", () => set(null));
  group.addEventListener("blur", () => document.contains(group) && set(null));
  group.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || event.target !== group) return;
    event.preventDefault();
    const last = seen.start + (seen.count - 1) * seen.step;
    set(pointed === null ? last : seen.start + nearest(seen, pointed + by * seen.step) * seen.step);
  });
}

/** Forgets the time under the pointer, because another subscription is shown. */
export function forgetPointed() {
  pointed = null;
}
