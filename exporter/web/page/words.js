// Numbers, durations and names as people read them; the same forms as the terminal's.

const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
const NO_FAULT = new Set(["ok", "uncommitted"]);
const ALWAYS_BAD = new Set(["past_end", "stopped", "stalled", "retry_loop"]);
const BEHIND = new Set(["lagging", "rewound"]);
const LOSS_SECONDS = 86400;

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A rate: tenths where they tell something. */
export function rate(value) {
  return number(value, value !== null && value < 100 ? 1 : 0);
}

/** A duration with its two largest units, cut off. */
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

/** `≥` marks a lower bound: a part of the subscription cannot be read. `≤` marks an upper bound. */
export function lag(row) {
  if (row.lag_messages === null && row.lag_messages_at_least !== null) return `≥ ${number(row.lag_messages_at_least)}`;
  return (row.lag_upper_bound ? "≤ " : "") + number(row.lag_messages);
}

/** `~` marks an age that may be off by much, `≥` a lower bound. */
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

/** What a subscription is called: its group, if it has one, and its destination with its vhost. */
export function names(row) {
  const place = row.vhost && row.vhost !== "/" ? `${row.vhost}/${row.destination}` : row.destination;
  return { group: seen(row.group || ""), place: seen(place), source: row.source };
}

/** A name of which nothing can be seen, in quotes. */
function seen(name) {
  return name && !/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(name) ? `"${name}"` : name;
}

/** How a backlog stands: bad is one that stands still, that is past a threshold and does not get smaller, or past the end. */
export function standing(row) {
  if (NO_FAULT.has(row.status)) return "good";
  const bad = ALWAYS_BAD.has(row.status) || (BEHIND.has(row.status) && row.drains === false);
  return bad ? "bad" : "unsure";
}

/** Why, in one line: the likeliest cause and its evidence, and what will be lost soon. */
export function why(row) {
  const parts = [];
  const loss = row.time_to_loss_seconds;
  if (loss !== null && loss < LOSS_SECONDS) parts.push(loss > 0 ? `will be deleted in ${duration(loss)}` : "retention reached it");
  const [first] = row.causes;
  if (row.status_reason && (!first || first.evidence !== row.status_reason)) parts.push(row.status_reason);
  if (first) parts.push(`${plain(first.cause)}: ${first.evidence}`);
  return parts.join("; ");
}
