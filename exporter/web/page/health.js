// The sources: whether they can be read, and the state of their nodes, probes and tasks.

import { element, replace, write } from "./draw.js";
import { count, counted, lasting, plain } from "./words.js";

const NODES = 20;
const FEW = 6;

/** Whether reading a source has failed. A source that was not read yet is not down. */
export function isDown(source) {
  return !source.up && source.reason !== null;
}

/** The line with the state of each source, and the panel below it. */
export function showHealth(parts, told) {
  parts.health.hidden = told.sources.length === 0;
  const all = told.sources.map((source) => [`${source.source} (${source.system})`, stateOf(source, { short: true })]);
  const lines = all.length > FEW ? inShort(all) : all;
  const shape = JSON.stringify(lines);
  if (parts.sources.dataset.shape !== shape) {
    parts.sources.dataset.shape = shape;
    replace(parts.sources, ...lines.flatMap(([name, { kind, text }], index) =>
      [index ? " " : "", element("span", { class: "source" }, `${name} `, element("span", { class: kind }, text))]));
  }
  const marked = getSelection();
  if (!parts.health.open || (!marked.isCollapsed && parts.panel.contains(marked.anchorNode))) return;
  replace(parts.panel, ...told.sources.map((source) => card(source, told.time)));
}

/** A banner with each source that cannot be read, and why. How old its values are is in their rows. */
export function showDown(banner, told) {
  const down = told.sources.filter(isDown);
  banner.hidden = down.length === 0;
  write(banner, down.map((source) => {
    const shown = source.age_seconds === null ? "It has not been read since the exporter started."
      : "Its subscriptions show their last values.";
    return `${source.source} (${source.system}) cannot be read: ${reasonOf(source)}. ${shown}`;
  }).join("\n"));
}

/** Many sources in short: how many are up, and the first of the others. */
function inShort(all) {
  const wrong = all.filter(([, { kind }]) => kind !== "good");
  const well = [`${counted(all.length, "source")}:`, { kind: "good", text: `${count(all.length - wrong.length)} up` }];
  const more = wrong.length > FEW ? [["", { kind: "bad", text: `and ${counted(wrong.length - FEW, "other")}` }]] : [];
  return [well, ...wrong.slice(0, FEW), ...more];
}

function reasonOf(source) {
  return [plain(source.reason), source.message].filter(Boolean).join(": ");
}

/** The state in words. In short, the reason is left out, because the banner has it. */
function stateOf(source, { short = false } = {}) {
  const more = [...source.alarms];
  if (source.series_dropped) more.push(`${count(source.series_dropped)} series left out`);
  if (source.up && source.message) more.unshift(source.message);
  const state = source.up ? "up" : !isDown(source) ? "not read yet" : short ? "down" : `down: ${reasonOf(source)}`;
  const kind = isDown(source) ? "bad" : !source.up || more.length ? "unsure" : "good";
  return { kind, text: [state, ...more].join(": ") };
}

function card(source, now) {
  const { nodes, probes, tasks } = source;
  const state = stateOf(source);
  const facts = [
    ["state", state.text, state.kind],
    ["last read", source.age_seconds === null ? "never" : `${lasting(source.age_seconds)} ago`, ""],
    nodes.length ? ["nodes", ...summary(nodes, (each) => each.up, "up", "down")] : null,
    probes.length ? ["probes", ...summary(probes, (each) => each.success !== false, "succeed", "fail")] : null,
    ["series", count(source.series), ""],
  ].filter(Boolean);
  return element("section", { class: "card" },
    element("h2", {}, source.source, " ", element("small", {}, `(${source.system})`)),
    element("dl", {}, ...facts.map(([term, text, kind]) =>
      element("div", {}, element("dt", {}, term), element("dd", { class: kind }, text)))),
    element("table", {},
      element("thead", {}, element("tr", {}, ...["task", "state", "took", "last success"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...tasks.map((task) => taskRow(task, now)))));
}

function taskRow(task, now) {
  const kind = task.runs === 0 ? "faint" : task.success ? "good" : "bad";
  const state = task.runs === 0 ? "has not run" : task.success ? "ok" : [plain(task.reason), task.message].filter(Boolean).join(": ");
  return element("tr", {},
    element("th", { scope: "row" }, task.task),
    element("td", { class: `${kind} words` }, state),
    element("td", {}, task.runs ? `${task.duration_seconds.toFixed(2)} s` : "–"),
    element("td", {}, task.runs ? `${lasting(now - task.last_success)} ago` : "–"));
}

/** `2 of 3 up (kafka-3 down)`. */
function summary(all, isGood, good, bad) {
  const wrong = all.filter((each) => !isGood(each)).map((each) => each.node);
  const text = `${count(all.length - wrong.length)} of ${count(all.length)} ${good}`;
  if (!wrong.length) return [text, "good"];
  const more = wrong.length > NODES ? ` and ${counted(wrong.length - NODES, "other")}` : "";
  return [`${text} (${bad}: ${wrong.slice(0, NODES).join(", ")}${more})`, "bad"];
}
