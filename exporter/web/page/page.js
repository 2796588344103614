// Shows the exporter's answers: the list, or the one subscription that the address names.

import { choose, current, key, listAddress } from "./address.js";
import { asker } from "./asking.js";
import { forgetPointed } from "./charts.js";
import { makeHeads, makeOrder, showCount, showHeads, showLegend, showSourceChoice, showStatuses, sourceChosen } from "./choices.js";
import { backLink, showDetail } from "./detail.js";
import { element, replace, write } from "./draw.js";
import { isDown, showDown, showHealth } from "./health.js";
import { linkOf, showRest, showRows } from "./list.js";
import { count } from "./words.js";

const ROWS = 100;
const MOST = 400;
const by = (id) => document.getElementById(id);
const page = { limit: ROWS, meanings: {}, shown: null, left: null, told: null };

function query() {
  const { one, filter, status, system, source, sort } = current();
  const wanted = { text: "true", stale: "true", health: "true" };
  if (!Object.keys(page.meanings).length) wanted.legend = "true";
  if (one !== null) return new URLSearchParams({ ...wanted, ...one, partitions: "true", history: "true", detail: "true" });
  const chosen = Object.entries({ filter, status, system, source, sort }).filter(([, value]) => value);
  return new URLSearchParams({ ...wanted, limit: page.limit, history: "lag_messages", ...Object.fromEntries(chosen) });
}

function show(told) {
  page.told = told;
  page.meanings = told.status_meanings ?? page.meanings;
  by("main").setAttribute("aria-busy", "false");
  write(by("version"), told.version);
  showHealth({ health: by("health"), sources: by("sources"), panel: by("health-of-sources") }, told);
  showDown(by("down"), told);
  const view = current();
  by("list").hidden = view.one !== null;
  by("detail").hidden = view.one === null;
  if (view.one === null) showList(told, view);
  else showOne(told, view);
  name(told);
}

/** Sets the tab's title: the number of bad subscriptions and of sources that cannot be read. */
function name(told) {
  const bad = (told.by_standing.bad ?? 0) + told.sources.filter(isDown).length;
  entitle(bad ? `(${count(bad)}) mq-lag-exporter` : "mq-lag-exporter");
}

function entitle(title) {
  if (document.title !== title) document.title = title;
}

function showList(told, view) {
  page.shown = null;
  const { meanings } = page;
  showChoices(view);
  showSourceChoice(by("source"), told.sources, view);
  showStatuses(by("statuses"), told, { chosen: view.status, meanings, choose: (status) => pick({ status }) });
  showRows(by("rows"), told.subscriptions, view);
  by("rows").classList.toggle("single", told.sources.length === 1);
  showCount(by("count"), told);
  const left = told.matching - told.subscriptions.length;
  showRest({ rest: by("rest"), more: by("more"), narrow: by("narrow") }, { left, limit: page.limit, most: MOST });
  by("table").hidden = told.matching === 0;
  by("none").hidden = told.matching > 0;
  if (!told.matching) write(by("none"), nothing(told));
  showLegend({ legend: by("legend"), meanings: by("meanings") }, meanings, told.standings);
  if (page.left !== null) linkOf(page.left)?.focus();
  page.left = null;
}

function showChoices(view) {
  showHeads(by("heads"), view.sort);
  if (by("order").value !== view.sort) by("order").value = view.sort;
  if (by("filter").value.trim() !== view.filter.trim()) by("filter").value = view.filter;
}

function nothing(told) {
  if (told.total) return "No subscription matches.";
  if (told.sources.some(isDown)) return "No subscriptions to show. A source cannot be read, see above.";
  if (told.sources.some((source) => !source.up)) return "The sources are being read for the first time.";
  return "No subscriptions yet. A Kafka group appears after its first commit, a queue or channel as soon as it exists.";
}

function showOne(told, view) {
  const [row] = told.subscriptions;
  const first = page.shown !== key(view.one);
  const place = by("detail");
  if (first) forgetPointed();
  page.shown = key(view.one);
  page.left = view.one;
  if (!row) {
    const { group, destination, source } = view.one;
    replace(place, backLink(view), element("p", {}, `${group ? `${group} on ` : ""}${destination} (${source}) does not exist, or cannot be read at the moment.`));
    return;
  }
  const marked = getSelection();
  if (!first && !marked.isCollapsed && place.contains(marked.anchorNode)) return; // somebody is about to copy it
  const focused = document.activeElement;
  const inside = place.contains(focused);
  const scrolled = by("scroll")?.scrollLeft ?? 0;
  showDetail(place, row, { view, now: told.time - row.values_age_seconds, meanings: page.meanings, chooseRange: (range) => pick({ range }) });
  if (!first && by("scroll")) by("scroll").scrollLeft = scrolled;
  const same = inside && !first && focused.id ? by(focused.id) : null;
  if (same) same.focus({ preventScroll: true });
  else if (first || inside) place.querySelector("h2").focus({ preventScroll: !first });
}

/** Changes the address, and shows what it names. */
function pick(changes, options) {
  choose(changes, options);
  turn();
}

/** Shows what the address names: now as far as it is known, and completely with the next answer. */
function turn() {
  const view = current();
  if (view.one === null) {
    showChoices(view);
    page.limit = ROWS;
  } else if (page.shown === key(view.one) && page.told?.subscriptions.length) showOne(page.told, view);
  asking.now();
}

/** Steps to the next or previous subscription of the list. */
function step(by_) {
  const links = [...by("rows").querySelectorAll("a")];
  const index = links.indexOf(document.activeElement);
  const next = index < 0 ? 0 : Math.min(Math.max(index + by_, 0), links.length - 1);
  links[next]?.focus();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const types = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  const view = current();
  if (event.key === "Escape" && view.one !== null) location.hash = listAddress(view);
  else if (event.key === "Escape" && types) event.target.blur();
  else if (types) return;
  else if (event.key === "/" && view.one === null) {
    event.preventDefault();
    by("filter").focus();
  } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
}

const asking = asker({
  query, show, failed: () => entitle("(!) mq-lag-exporter"),
  parts: { updated: by("updated"), trouble: by("trouble"), lasts: by("trouble-lasts"), is: by("trouble-is"), none: by("none"), main: by("main") },
});
makeHeads(by("heads"), (sort) => pick({ sort }));
makeOrder(by("order"), (sort) => pick({ sort }));
by("filter").addEventListener("input", () => pick({ filter: by("filter").value }, { typing: true }));
by("source").addEventListener("change", () => pick(sourceChosen(by("source"))));
by("search").addEventListener("submit", (event) => event.preventDefault());
by("more").addEventListener("click", () => {
  page.limit = Math.min(page.limit * 2, MOST);
  asking.now();
});
by("health").addEventListener("toggle", () => page.told && showHealth({ health: by("health"), sources: by("sources"), panel: by("health-of-sources") }, page.told));
addEventListener("hashchange", turn);
addEventListener("keydown", press);
if (by("filter").value && !location.hash) choose({ filter: by("filter").value });
turn();
