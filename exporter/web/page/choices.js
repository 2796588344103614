// The controls above the table: order, source and status.

import { element, replace, write } from "./draw.js";
import { count, counted, plain } from "./words.js";

const COLUMNS = [
  { title: "status", first: "status", worst: true, hint: "worst first" },
  { title: "subscription", first: "name" },
  { title: "lag", first: "-lag_messages", kind: "n" },
  { title: "last hour", order: "growth", first: "-growth", hint: "fastest growing first" },
  { title: "age", first: "-lag_seconds", kind: "n" },
  { title: "in /s", first: "-produced_messages_per_second", kind: "n", hint: "messages enqueued per second, over the rate window" },
  { title: "out /s", first: "-consumed_messages_per_second", kind: "n", hint: "messages processed per second, over the rate window" },
  { title: "consumers", first: "-consumers", kind: "n" },
  { title: "why", order: "cause", first: "cause", hint: "by cause" },
];
const SEVERITY = ["bad", "unsure", "good"];

/** The orders that clicks on a column head go through. The empty one is the worst first. */
function ordersOf(column) {
  const other = column.first.startsWith("-") ? column.first.slice(1) : `-${column.first}`;
  return column.worst ? ["", column.first, other] : [column.first, other, ""];
}

/** Creates column heads that sort when they are clicked. */
export function makeHeads(row, choose) {
  replace(row, ...COLUMNS.map((column) => {
    const button = element("button", { type: "button", title: column.hint ?? null }, column.title);
    const head = element("th", { scope: "col", class: column.kind ?? null }, button);
    button.addEventListener("click", () => {
      const orders = ordersOf(column);
      choose(orders[(orders.indexOf(head.dataset.sort ?? null) + 1) % orders.length]);
    });
    return head;
  }));
}

/** Marks the column by which the rows are sorted. */
export function showHeads(row, sort) {
  COLUMNS.forEach((column, index) => {
    const head = row.children[index];
    const chosen = ordersOf(column).includes(sort) && (sort !== "" || column.worst === true);
    if (chosen) {
      head.dataset.sort = sort;
      head.setAttribute("aria-sort", sort === "" ? "other" : sort.startsWith("-") ? "descending" : "ascending");
    } else {
      delete head.dataset.sort;
      head.removeAttribute("aria-sort");
    }
  });
}

/** Creates the list of orders for narrow screens, which have no column heads. */
export function makeOrder(select, choose) {
  const options = COLUMNS.flatMap((column) => (column.worst
    ? [element("option", { value: "" }, "worst first")]
    : [element("option", { value: column.first }, `by ${column.order ?? column.title}`)]));
  replace(select, ...options);
  select.addEventListener("change", () => choose(select.value));
}

/** A list of systems and their sources. It is hidden if there is only one source. */
export function showSourceChoice(select, sources, view) {
  const chosen = view.source ? `source/${view.system}/${view.source}` : view.system ? `system/${view.system}` : "";
  const shape = JSON.stringify(sources.map((each) => [each.system, each.source]));
  if (select.dataset.shape !== shape) {
    const systems = [...new Set(sources.map((each) => each.system))].sort();
    replace(select, element("option", { value: "" }, "all sources"), ...systems.map((system) =>
      element("optgroup", { label: system },
        systems.length > 1 ? element("option", { value: `system/${system}` }, `all of ${system}`) : null,
        ...sources.filter((each) => each.system === system).map((each) =>
          element("option", { value: `source/${system}/${each.source}` }, each.source)))));
    select.dataset.shape = shape;
  }
  select.hidden = sources.length < 2 && !chosen;
  if (select.value !== chosen) select.value = chosen;
}

export function sourceChosen(select) {
  const [kind, system = "", ...rest] = select.value.split("/");
  return { system, source: kind === "source" ? rest.join("/") : "" };
}

/** Buttons that add a status to the filter or remove it, with the number of matching rows. */
export function showStatuses(list, { matching_by_status: counts, standings }, { chosen, meanings, choose }) {
  const order = Object.keys(meanings);
  const place = (status) => (order.includes(status) ? order.indexOf(status) : order.length);
  const present = [...new Set([...Object.keys(counts), ...(chosen ? [chosen] : [])])]
    .sort((one, other) => place(one) - place(other) || (one < other ? -1 : 1));
  const same = list.children.length === present.length
    && present.every((status, index) => list.children[index].firstChild.value === status);
  if (!same) {
    replace(list, ...present.map((status) => {
      const button = element("button", { type: "button", value: status });
      button.addEventListener("click", () => choose(button.getAttribute("aria-pressed") === "true" ? "" : status));
      return element("li", {}, button);
    }));
  }
  present.forEach((status, index) => {
    const button = list.children[index].firstChild;
    const found = counts[status] ?? {};
    const worst = SEVERITY.find((each) => found[each]) ?? standings[status] ?? "unsure";
    const total = SEVERITY.reduce((sum, each) => sum + (found[each] ?? 0), 0);
    write(button, `${count(total)} ${plain(status)}`, status in standings ? worst : "faint");
    button.title = meanings[status] ?? "";
    button.setAttribute("aria-pressed", String(status === chosen));
  });
}

/** The number of subscriptions, and of those that match. */
export function showCount(place, told) {
  write(place, told.matching === told.total
    ? counted(told.total, "subscription")
    : `${count(told.matching)} of ${counted(told.total, "subscription")}`);
}

/** The meaning of each status, in the colour of its worst standing. */
export function showLegend(parts, meanings, standings) {
  const shown = Object.entries(meanings).filter(([status]) => status in standings || status === "stale");
  parts.legend.hidden = shown.length === 0;
  if (parts.meanings.children.length === shown.length) return;
  replace(parts.meanings, ...shown.map(([status, meaning]) => element("div", {},
    element("dt", {}, element("span", { class: `state ${standings[status] ?? "none"}` }, plain(status))),
    element("dd", {}, meaning))));
}
