// Camera and microphone: the check, the phrase, the countdown, the recording.

import { Recorder } from "/avsync.js";
import { byId, choice, el, icon } from "./dom.js";
import { language, t } from "./texts.js";

const SECONDS = 4;
const COUNT_FROM = 3;
const PHRASES = 6;

// Which problem of the check belongs to which of its three readings.
const READINGS = {
  face: ["NO_FACE", "SEVERAL_FACES", "FACE_SMALL", "FACE_AT_EDGE"],
  light: ["TOO_DARK", "TOO_BRIGHT"],
  sound: ["SILENT", "LOUD"],
};

/**
 * A recording of whoever sits before the camera; null where they went back.
 * @param {(step: "check"|"record") => void} enter shows that step
 * @returns {Promise<Blob|null>} rejects with AvsyncError
 */
export async function capture(enter) {
  const recorder = await Recorder.open({ video: byId("camera-video") });
  try {
    for (;;) {
      enter("check");
      if (!(await checked(recorder))) return null;
      enter("record");
      const recording = await recorded(recorder);
      if (recording) return recording;
    }
  } finally {
    recorder.close();
  }
}

/** Whether to go on. The check advises; it holds nobody up. @param {Recorder} recorder */
async function checked(recorder) {
  read({ faces: null, light: null, level: 0, ready: false, problems: [] });
  byId("check-says").textContent = "";
  /** @type {{start(): unknown, stop(): void}|null} */
  let check = null;
  try {
    const { CameraCheck } = await import("./check.js");
    check = new CameraCheck({ video: byId("camera-video"), recorder, onReading: read });
    await check?.start();
  } catch {
    byId("check-says").textContent = t("check.unavailable");
  }
  const go = await choice({ yes: byId("check-go"), no: byId("check-back") });
  check?.stop();
  return go === "yes";
}

/**
 * @param {{faces: number|null, light: string|null, level: number, ready: boolean,
 *   problems: string[]}} reading
 */
function read({ faces, light, level, ready, problems }) {
  byId("level").value = level;
  byId("check-go").textContent = t(ready ? "check.go" : "check.anyway");
  const looked = { face: faces !== null, light: light !== null, sound: true };
  const unseen = ready ? "check.unknown" : "check.waiting"; // where the finder cannot run
  const said = Object.entries(READINGS).map(([name, codes]) => {
    const problem = problems.find((code) => codes.includes(code));
    const known = looked[/** @type {keyof typeof looked} */ (name)];
    const text = problem ? `check.${problem}` : known ? "check.good" : unseen;
    return { name, text, sign: problem ? "medium" : known ? "low" : "none" };
  });
  const now = said.map(({ text }) => t(text)).join("|");
  const list = byId("readings");
  if (list.dataset.said === now) return; // told ten times a second, and mostly the same
  list.dataset.said = now;
  list.replaceChildren(
    ...said.map(({ name, text, sign }) =>
      el("li", { class: `reading ${sign}` }, icon(sign), el("b", {}, t(`check.${name}`)), t(text)),
    ),
  );
  byId("check-says").textContent = ready
    ? t("check.ready")
    : said.filter(({ sign }) => sign === "medium").map(({ text }) => t(text)).join(". ");
}

/** The recording; null where it was stopped or left. @param {Recorder} recorder */
async function recorded(recorder) {
  const [start, stop, back] = ["record-start", "record-stop", "record-back"].map(byId);
  for (let again = false; ; again = true) {
    byId("phrase").textContent = phrase();
    byId("phrase").lang = language();
    byId("count").textContent = again ? t("record.stopped") : "";
    byId("recorded").value = 0;
    running(false);
    if (again) start.focus();
    if ((await choice({ start, back })) === "back") return null;
    running(true);
    stop.focus();
    const ended = new AbortController();
    stop.onclick = () => ended.abort();
    try {
      await countDown(ended.signal);
      byId("count").textContent = t("record.now"); // then silence: a voice would be recorded
      const recording = await recorder.record(SECONDS, {
        signal: ended.signal,
        onTick: (left) => (byId("recorded").value = 1 - left / SECONDS),
      });
      byId("count").textContent = t("record.done");
      return recording;
    } catch (error) {
      if (/** @type {any} */ (error).code !== "aborted") throw error;
    } finally {
      running(false);
    }
  }

  /** @param {boolean} now */
  function running(now) {
    start.hidden = back.hidden = now;
    stop.hidden = !now;
  }
}

/** @param {AbortSignal} signal */
async function countDown(signal) {
  for (let n = COUNT_FROM; n > 0; n--) {
    byId("count").textContent = t("record.starts", { n });
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000, null);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(Object.assign(new Error("stopped"), { code: "aborted" }));
      });
    });
  }
}

/** Another one every time, so that a recording made before says something else. */
function phrase() {
  const [which, n] = crypto.getRandomValues(new Uint32Array(2));
  return t(`phrase.${1 + (which % PHRASES)}`, { n: 12 + (n % 88) });
}
