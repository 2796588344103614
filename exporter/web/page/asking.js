// Polls the exporter. Shows how old the answer is, or why there is none.

import { write } from "./draw.js";
import { lasting, moment } from "./words.js";

const EVERY = 2000;
const SELDOM = 30000; // for a hidden tab: its title still counts
const AT_MOST = 5000;
const SHARE = 10; // requests of this page may take up to a tenth of the time
const PATIENCE = [4000, 15000];

/** Polls with `query()`. Calls `show` with each answer, or `failed`. `now()` polls at once. */
export function asker({ query, show, failed, parts }) {
  const state = { timer: null, asking: null, answered: null, failed: null, took: null, patience: PATIENCE[1] };

  /** Polls now. A running request that is no longer needed is cancelled. */
  async function ask() {
    clearTimeout(state.timer);
    state.asking?.abort();
    const asking = new AbortController();
    state.asking = asking;
    const began = performance.now();
    const late = setTimeout(() => asking.abort(new Error("request timed out")), state.patience);
    let answer = null;
    try {
      const reply = await fetch(`api/v1/subscriptions?${query()}`, { signal: asking.signal, cache: "no-store" });
      if (!reply.ok) throw new Refusal(reply);
      answer = await reply.json();
    } catch (error) {
      if (state.asking === asking) fail(error, began);
    } finally {
      clearTimeout(late);
    }
    if (state.asking !== asking) return;
    if (answer !== null) {
      state.took = performance.now() - began;
      state.patience = Math.min(Math.max(PATIENCE[0], 4 * state.took), PATIENCE[1]);
      Object.assign(state, { answered: Date.now(), failed: null });
      parts.trouble.hidden = true;
      document.body.classList.remove("stale");
    }
    state.timer = setTimeout(ask, pause());
    tick();
    if (answer !== null) show(answer);
  }

  function pause() {
    if (document.hidden) return SELDOM;
    return state.failed === null ? Math.min(Math.max(EVERY, SHARE * state.took), AT_MOST) : EVERY;
  }

  function fail(error, began) {
    // If requests time out, the next one gets more time. A refused connection changes nothing.
    if (performance.now() - began >= state.patience) state.patience = Math.min(1.5 * state.patience, PATIENCE[1]);
    state.failed = { error, since: state.failed?.since ?? state.answered ?? Date.now() };
    parts.main.setAttribute("aria-busy", "false");
    document.body.classList.add("stale");
    parts.trouble.hidden = false;
    failed();
    if (state.answered === null) write(parts.none, "Nothing to show yet.");
  }

  /** Shows how old the answer is, once a second. */
  function tick() {
    if (state.failed !== null) {
      const { error, since } = state.failed;
      write(parts.lasts, error.status === undefined ? `No answer for ${lasting((Date.now() - since) / 1000)}. ` : "");
      write(parts.is, said(state.failed, state.answered));
    }
    if (state.answered === null) return;
    const seconds = (Date.now() - state.answered) / 1000;
    write(parts.updated, seconds < 1 ? "updated now" : `updated ${lasting(seconds)} ago`);
  }

  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ask();
  });
  return { now: ask };
}

class Refusal extends Error {
  constructor(reply) {
    super(`status ${reply.status} ${reply.statusText}`);
    this.status = reply.status;
  }
}

/** The fault without its duration: screen readers announce each change of this text. */
function said({ error }, answered) {
  const shown = answered === null ? "" : ` The data shown is from ${moment(answered / 1000)}.`;
  if (error.status === 401) return `Access denied (401): user name and password are needed. Reload the page to sign in.${shown}`;
  if (error.status === 403) return `Access denied (403).${shown}`;
  const reason = error instanceof TypeError ? "connection failed" : error.message;
  if (error.status !== undefined) return `The exporter answers with an error: ${reason}.${shown}`;
  return `The exporter does not respond: ${reason}.${shown}`;
}
