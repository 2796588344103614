// Formats numbers, durations and names, in the same way as exporter/readable.py does for the terminal.

const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
const NO_FAULT = new Set(["ok", "uncommitted"]);
const ALWAYS_BAD = new Set(["past_end", "stopped", "stalled", "retry_loop"]);
const BEHIND = new Set(["lagging", "rewound"]);
const LOSS_SECONDS = 86400;

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A rate, with tenths below 100. */
export function rate(value) {
  return number(value, value !== null && value < 100 ? 1 : 0);
}

/** A duration with its two largest units, truncated. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  const whole = Math.floor(seconds);
  if (whole < 10) return `${Math.max(Math.floor(seconds * 10) / 10, 0.1).toFixed(1)} s`;
  for (const [size, large, smaller, small] of UNITS) {
    if (whole >= size) return `${Math.floor(whole / size)} ${large} ${Math.floor((whole % size) / smaller)} ${small}`;
  }
  return `${whole} s`;
}

/** `≥` marks a lower bound: a partition of the subscription cannot be read. `≤` marks an upper bound. */
export function lag(row) {
  if (row.lag_messages === null && row.lag_messages_at_least !== null) return `≥ ${number(row.lag_messages_at_least)}`;
  return (row.lag_upper_bound ? "≤ " : "") + number(row.lag_messages);
}

/** `~` marks an age with a large possible error, `≥` a lower bound. */
export function age(row) {
  if (row.lag_seconds === null && row.lag_seconds_at_least !== null) return `≥ ${duration(row.lag_seconds_at_least)}`;
  const off = row.lag_seconds_uncertainty;
  const vague = row.lag_seconds !== null && off !== null && off > 1 && off > 0.1 * row.lag_seconds;
  return (vague ? "~" : "") + duration(row.lag_seconds);
}

export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

export function plain(word) {
  return (word || "").replaceAll("_", " ");
}

/** The name of a subscription: its group, if any, and its destination with the vhost. */
export function names(row) {
  const place = row.vhost && row.vhost !== "/" ? `${row.vhost}/${row.destination}` : row.destination;
  return { group: seen(row.group || ""), place: seen(place), source: row.source };
}

/** Puts a name without visible characters in quotes. */
function seen(name) {
  return name && !/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(name) ? `"${name}"` : name;
}

/** Rates a subscription: bad if it makes no progress, if it is above a threshold and does not drain, or if it is past the log end. */
export function standing(row) {
  if (NO_FAULT.has(row.status)) return "good";
  const bad = ALWAYS_BAD.has(row.status) || (BEHIND.has(row.status) && row.drains === false);
  return bad ? "bad" : "unsure";
}

/** One line: time to loss, status reason, and the most likely cause with its evidence. */
export function why(row) {
  const parts = [];
  const loss = row.time_to_loss_seconds;
  if (loss !== null && loss < LOSS_SECONDS) parts.push(loss > 0 ? `unread messages will be deleted in ${duration(loss)}` : "retention has reached unread messages");
  const [first] = row.causes;
  if (row.status_reason && (!first || first.evidence !== row.status_reason)) parts.push(row.status_reason);
  if (first) parts.push(`${plain(first.cause)}: ${first.evidence}`);
  return parts.join("; ");
}
