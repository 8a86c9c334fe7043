// What went wrong, what to do about it, and another try.

import * as access from "./access.js";
import { byId, choice } from "./dom.js";
import { codeOf, explained, say } from "./texts.js";

// What may go by itself, or with another access code, or once the camera is allowed.
const PASSING = new Set([
  ...access.REFUSALS,
  ...["network", "denied", "busy", "queue_full", "too_many_jobs", "rate_limited", "timeout"],
  ...["analysis_failed", "internal", "upload_too_slow"],
  ...["database_unavailable", "storage_unavailable", "storage_full"],
]);

/**
 * Fill the panel.
 * @param {any} error an AvsyncError, or whatever else broke
 */
export function describe(error) {
  const code = codeOf(error);
  const { what, todo } = explained(error);
  byId("problem-what").textContent = what;
  byId("problem-todo").textContent = todo;
  const id = error.requestId;
  say(byId("problem-request"), id ? "error.request" : "", { id });
  const refused = access.REFUSALS.has(code);
  byId("code-form").hidden = !refused;
  byId("problem-retry").hidden = refused || !(PASSING.has(code) || error.status >= 500);
}

/** What the person wants: another try, perhaps with another access code, or the beginning.
 * @returns {Promise<"retry"|"restart">} */
export async function asked() {
  const buttons = { retry: byId("problem-retry"), restart: byId("problem-restart") };
  const wish = await choice({ ...buttons, code: byId("code-form") });
  if (wish !== "code") return wish;
  access.keep(byId("code").value);
  byId("code").value = "";
  return "retry";
}
