// The recording goes to the service, and the page says how far it is.

import { Client } from "/avsync.js";
import * as access from "./access.js";
import { byId, el, icon } from "./dom.js";
import { say } from "./texts.js";

const STAGES = ["upload", "queued", "decode", "find_faces", "syncnet", "efficientnet"];

/**
 * The verdict about a recording.
 * @param {Blob} recording
 * @param {{sessionId: string|null, partial: boolean, idempotencyKey: string}} asked
 * @returns {Promise<any>} rejects with AvsyncError, also where it is cancelled (`aborted`)
 */
export async function send(recording, { sessionId, partial, idempotencyKey }) {
  const ended = new AbortController();
  byId("send-cancel").onclick = () => ended.abort();
  show({ phase: "upload", progress: 0, stage: null });
  return await new Client(access.credentials()).score(recording, {
    sessionId: sessionId ?? undefined,
    consent: true,
    partial,
    idempotencyKey,
    signal: ended.signal,
    onProgress: show,
  });
}

/**
 * The heat map of a recording that was scored before: it is scored again, and the second result,
 * which holds a picture of the face, is deleted as soon as it is here.
 * @param {Blob} recording
 * @param {{sessionId: string, idempotencyKey: string}} asked with a key of its own
 * @param {AbortSignal} signal
 * @returns {Promise<{time_s: number, score: number, png: string}|null>}
 */
export async function heatMap(recording, { sessionId, idempotencyKey }, signal) {
  const client = new Client(access.credentials());
  const verdict = await client.score(recording, {
    sessionId,
    consent: true,
    heatmap: true,
    partial: true,
    idempotencyKey,
    signal,
  });
  await client.cancel(verdict.job_id);
  return verdict.efficientnet?.heatmap ?? null;
}

/** @param {{phase: string, progress: number, stage: string|null}} now */
function show({ phase, progress, stage }) {
  const bar = byId("send-progress");
  const known = phase === "upload" || phase === "running";
  if (known) bar.value = progress;
  else bar.removeAttribute("value");
  const at = phase === "running" ? (stage ?? "decode") : phase;
  const list = byId("stages");
  if (byId("send-says").dataset.t === `stage.${at}`) return;
  say(byId("send-says"), `stage.${at}`);
  const reached = STAGES.indexOf(at);
  if (reached < 0 && list.childElementCount) return; // trying again changes nothing of the list
  list.replaceChildren(
    ...STAGES.map((name, number) => {
      const done = number < reached;
      return el(
        "li",
        { class: done ? "done" : null, "aria-current": number === reached ? "step" : null },
        done ? icon("low") : el("span", { class: "dot", "aria-hidden": "true" }),
        say(el("span"), `stage.${name}`),
        done && say(el("span", { class: "hidden" }), "stage.done"),
      );
    }),
  );
}
