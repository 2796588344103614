// Polls the exporter and shows the response: the list, or the one subscription that the URL names.

import { showDetail } from "./detail.js";
import { replace, element, write } from "./draw.js";
import { showRows, showSources, showStatuses } from "./list.js";
import { count, moment } from "./words.js";

const EVERY = 2000;
const SHARE = 10; // requests of this page may take up to a tenth of the time
const PATIENCE = 15000;
const ROWS = 100;
const by = (id) => document.getElementById(id);

const page = { words: "", status: "", limit: ROWS, timer: null, asking: null, answered: null, place: "" };

/** The names of the subscription in the address after `#`; null for the list. */
function place() {
  const parts = location.hash.slice(2).split("/");
  if (!location.hash.startsWith("#/") || parts.length !== 5) return null;
  try {
    const [system, source, vhost, destination, group] = parts.map(decodeURIComponent);
    return { system, source, vhost, destination, group };
  } catch {
    return null;
  }
}

function query() {
  const one = place();
  if (one !== null) return new URLSearchParams({ ...one, partitions: "true", history: "true", text: "true" });
  const wanted = { filter: page.words, limit: page.limit, history: "lag_messages", text: "true" };
  return new URLSearchParams(page.status ? { ...wanted, status: page.status } : wanted);
}

/** Polls now. A running request that is no longer needed is cancelled. */
async function ask() {
  clearTimeout(page.timer);
  page.asking?.abort();
  const asking = new AbortController();
  page.asking = asking;
  const began = Date.now();
  const late = setTimeout(() => asking.abort(new Error("request timed out")), PATIENCE);
  try {
    const answer = await fetch(`api/v1/subscriptions?${query()}`, { signal: asking.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status} ${answer.statusText}`);
    const told = await answer.json();
    if (page.asking !== asking) return;
    page.answered = Date.now();
    show(told);
  } catch (error) {
    if (page.asking !== asking) return;
    trouble(error);
  } finally {
    clearTimeout(late);
    if (page.asking === asking) page.timer = setTimeout(ask, Math.max(EVERY, SHARE * (Date.now() - began)));
  }
}

function trouble(error) {
  const since = page.answered === null ? "" : ` The data shown is from ${moment(page.answered / 1000)}.`;
  const reason = error instanceof TypeError ? "connection failed" : error.message;
  write(by("trouble"), `The exporter does not respond: ${reason}.${since}`);
  by("trouble").hidden = false;
  document.body.classList.add("stale");
}

function show(told) {
  by("trouble").hidden = true;
  document.body.classList.remove("stale");
  by("main").setAttribute("aria-busy", "false");
  write(by("version"), told.version);
  showSources(by("sources"), told.sources);
  const rows = told.subscriptions;
  const one = place();
  by("list").hidden = one !== null;
  by("detail").hidden = one === null;
  if (one === null) showList(told, rows);
  else showOne(one, rows);
  const bad = (told.statuses.stopped || 0) + (told.statuses.stalled || 0) + (told.statuses.lagging || 0) + (told.statuses.past_end || 0);
  const title = bad ? `(${count(bad)}) mq-lag-exporter` : "mq-lag-exporter";
  if (document.title !== title) document.title = title;
}

function showList(told, rows) {
  showStatuses(by("statuses"), told, page.status, choose);
  showRows(by("rows"), rows);
  const more = told.matching - rows.length;
  write(by("count"), told.matching === told.total ? `${count(told.total)} subscriptions` : `${count(told.matching)} of ${count(told.total)} subscriptions`);
  by("none").hidden = told.matching > 0;
  if (!told.matching) write(by("none"), nothing(told));
  by("more").hidden = more <= 0;
  if (more > 0) write(by("more"), `show ${count(Math.min(more, page.limit))} more of ${count(more)}`);
}

function nothing(told) {
  if (told.total) return "No subscription matches.";
  if (told.sources.some((source) => !source.up)) return "No subscriptions to show. A source cannot be read, see above.";
  return "No subscriptions yet. A Kafka group appears after its first commit, a queue or channel as soon as it exists.";
}

function showOne(names, rows) {
  const [row] = rows;
  const first = page.place !== location.hash;
  page.place = location.hash;
  if (!row) {
    replace(by("detail"), element("p", {}, element("a", { href: "#", id: "back" }, "← all subscriptions")),
      element("p", {}, `${names.group ? `${names.group} on ` : ""}${names.destination} (${names.source}) does not exist, or cannot be read at the moment.`));
    return;
  }
  const marked = getSelection();
  if (!first && !marked.isCollapsed && by("detail").contains(marked.anchorNode)) return; // somebody is about to copy it
  const focused = document.activeElement;
  const inside = by("detail").contains(focused);
  showDetail(by("detail"), row);
  if (inside && focused.id === "back" && !first) by("back").focus({ preventScroll: true });
  else if (first || inside) by("detail").querySelector("h2").focus({ preventScroll: !first });
}

function choose(status) {
  page.status = status;
  page.limit = ROWS;
  ask();
}

/** Steps to the next or previous subscription of the list. */
function step(by_) {
  const links = [...by("rows").querySelectorAll("a")];
  const index = links.indexOf(document.activeElement);
  const next = index < 0 ? 0 : Math.min(Math.max(index + by_, 0), links.length - 1);
  links[next]?.focus();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const types = event.target instanceof HTMLInputElement;
  if (event.key === "Escape" && place() !== null) location.hash = "";
  else if (event.key === "Escape" && types) event.target.blur();
  else if (types) return;
  else if (event.key === "/" && place() === null) {
    event.preventDefault();
    by("filter").focus();
  } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
}

by("filter").addEventListener("input", () => {
  page.words = by("filter").value;
  page.limit = ROWS;
  ask();
});
by("search").addEventListener("submit", (event) => event.preventDefault());
by("more").addEventListener("click", () => {
  page.limit *= 2;
  ask();
});
addEventListener("hashchange", () => {
  const one = place();
  if (one === null) page.place = "";
  ask();
});
addEventListener("keydown", key);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(page.timer);
  else ask();
});
page.words = by("filter").value;
ask();
