// Curves of a history, in a picture of 100 by 30.

import { drawn } from "./draw.js";

export const WIDTH = 100;
export const HEIGHT = 30;

/** The x coordinate of a point. The newest one is at the right. */
export function across(index, points, count) {
  return count > 1 ? ((index + count - points) / (count - 1)) * WIDTH : 0;
}

/** The y coordinate of a value. */
export function down(value, top) {
  return HEIGHT - (top > 0 ? Math.min(value / top, 1) : 0) * HEIGHT;
}

/** A path through the known points, interrupted at unknown ones. */
export function curve(values, count, top) {
  let text = "";
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    text += `${open ? "L" : "M"}${across(index, values.length, count).toFixed(2)} ${down(value, top).toFixed(2)}`;
    open = true;
  });
  return text;
}

/** The area below the points, if all are known from the first one on. */
export function area(values, count, top) {
  const start = values.findIndex((value) => value !== null);
  if (start < 0 || values.slice(start).includes(null)) return null;
  const left = across(start, values.length, count).toFixed(2);
  return drawn("path", { class: "area", d: `${curve(values, count, top)}V${HEIGHT}H${left}Z` });
}

/** A small line chart of one column of a subscription's history, for the table. */
export function sparkline(history, column, title) {
  const values = history ? history[column] : [];
  const count = Math.max(values.length, 20);
  const top = Math.max(0, ...values);
  return drawn("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    area(values, count, top), drawn("path", { class: "curve", d: curve(values, count, top) }));
}
