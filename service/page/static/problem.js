// What went wrong, what to do about it, and another try.

import * as access from "./access.js";
import { byId, choice } from "./dom.js";
import { explained, t } from "./texts.js";

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
  const code = error.code ?? "internal";
  const { what, todo } = explained({ code, message: error.message, advice: error.advice });
  byId("problem-what").textContent = what;
  byId("problem-todo").textContent = todo;
  byId("problem").dataset.code = code;
  const id = byId("problem-request");
  id.textContent = error.requestId ? t("error.request", { id: error.requestId }) : "";
  const refused = access.REFUSALS.has(code);
  byId("code-form").hidden = !refused;
  byId("problem-retry").hidden = refused || !(PASSING.has(code) || error.status >= 500);
}

/** What the person wants: another try, perhaps with another access code, or the beginning.
 * @returns {Promise<"retry"|"restart">} */
export async function asked() {
  const form = byId("code-form");
  const given = new Promise((resolve) => {
    form.onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      access.keep(byId("code").value);
      byId("code").value = "";
      resolve("retry");
    };
  });
  const buttons = { retry: byId("problem-retry"), restart: byId("problem-restart") };
  return /** @type {any} */ (await Promise.race([choice(buttons), given]));
}
