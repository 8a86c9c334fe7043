// The way through the page: consent, camera or file, sending, result. One step is shown at a time.

import * as access from "./access.js";
import { byId } from "./dom.js";
import { asked, describe } from "./problem.js";
import { apply, duration, number, preferred, switches, t, use } from "./texts.js";

/**
 * What the service says about itself.
 * @type {{retention_seconds?: number, max_video_size_mb?: number, max_duration_s?: number}}
 */
let limits = {};

/** @type {string|null} */
let session = null;

/** Draws again what the scripts have written, once the page speaks another language. */
let redraw = () => {};

/** Whether a way from the consent to a result is being gone: there is one at a time. */
let underWay = false;

const PANELS = ["consent", "camera", "send", "problem", "result"];
const PANEL_OF = { check: "camera", record: "camera" };

/**
 * Show a step and begin to read it: the focus goes to its heading.
 * @param {"consent"|"check"|"record"|"send"|"problem"|"result"} step
 */
function enter(step) {
  const panel = PANEL_OF[/** @type {keyof typeof PANEL_OF} */ (step)] ?? step;
  for (const name of PANELS) byId(name).hidden = name !== panel;
  byId("lead").hidden = step !== "consent";
  byId("check").hidden = step !== "check";
  byId("record").hidden = step !== "record";
  if (panel === "camera") entitle(step);
  if (step !== "problem") mark(step);
  if (step !== "consent") notice("");
  byId(`${panel}-title`).focus();
  scrollTo(0, 0);
}

/** @param {string} step */
function entitle(step) {
  byId("camera-title").dataset.t = `${step}.title`;
  apply(byId("camera"));
}

/** Say where on the way the person is. @param {string} step */
function mark(step) {
  for (const item of byId("steps").children) {
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

/** @param {string} text */
function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

/** Whether the person has agreed; where not, they are told what is missing. */
function agreed() {
  const box = byId("agree");
  box.setAttribute("aria-invalid", String(!box.checked));
  byId("agree-missing").textContent = box.checked ? "" : t("consent.agree.missing");
  if (!box.checked) box.focus();
  return box.checked;
}

/** Say what went wrong, and ask what the person wants. @param {any} error */
async function failed(error) {
  describe(error);
  redraw = () => describe(error);
  enter("problem");
  const wish = await asked();
  redraw = () => {};
  return wish;
}

/** @param {() => Promise<unknown>} way */
async function alone(way) {
  if (underWay || !agreed()) return;
  underWay = true;
  try {
    await way();
  } finally {
    underWay = false;
  }
}

/** From the camera to the result. */
async function fromCamera() {
  for (;;) {
    try {
      const { capture } = await import("./capture.js");
      const recording = await capture(enter);
      if (!recording) return restart();
      return await fromRecording(recording, { partial: false });
    } catch (error) {
      if ((await failed(error)) === "restart") return restart();
    }
  }
}

/**
 * From a file to the result. A file cannot be recorded again, so what can be measured of it is
 * better than nothing.
 * @param {File} file
 */
async function fromFile(file) {
  const largest = (limits.max_video_size_mb ?? Infinity) * 1024 * 1024;
  if (file.size > largest) {
    await failed({ code: "too_large" });
    return restart();
  }
  await fromRecording(file, { partial: true });
}

/** @param {Blob} recording @param {{partial: boolean}} how */
async function fromRecording(recording, { partial }) {
  const { send } = await import("./sending.js");
  for (let key = fresh(); ; ) {
    try {
      enter("send");
      const verdict = await send(recording, { sessionId: session, partial, idempotencyKey: key });
      return await showResult(verdict, recording);
    } catch (error) {
      const { code } = /** @type {any} */ (error);
      if (code === "aborted") return restart(t("send.cancelled"));
      if ((await failed(error)) === "restart") return restart();
      if (code !== "network") key = fresh(); // after a broken line the job may be there already
    }
  }
}

/** A name for one sending of one recording. */
const fresh = () => [...crypto.getRandomValues(new Uint32Array(4))].join("-");

/** @param {any} verdict @param {Blob} recording */
async function showResult(verdict, recording) {
  const { ResultView } = await import("./result.js");
  const { heatMap } = await import("./sending.js");
  const view = new ResultView(byId("result-view"), verdict, {
    recording,
    heatMap: () => heatMap(recording, verdict.session_id),
    left: (text) => {
      view.close();
      restart(text);
    },
  });
  redraw = () => view.draw();
  enter("result");
  await view.draw();
}

/** Back to the beginning, with a word about why. @param {string} [said] */
function restart(said = "") {
  redraw = () => {};
  byId("agree").checked = false;
  enter("consent");
  notice(said);
}

/** What depends on the settings of the service. */
function fillConsent() {
  const kept = limits.retention_seconds;
  byId("kept").textContent =
    kept === undefined
      ? t("consent.kept.unknown")
      : kept === 0
        ? t("consent.kept.delivered")
        : t("consent.kept", { time: duration(kept) });
  const { max_video_size_mb: size, max_duration_s: longest } = limits;
  byId("drop-hint").textContent =
    size && longest
      ? t("consent.drop", { size: number(size), length: duration(longest) })
      : t("consent.drop.unlimited");
  document.title = `${t("title")} · ${t("brand")}`;
}

function listen() {
  byId("use-camera").addEventListener("click", () => alone(fromCamera));
  byId("agree").addEventListener("change", () => byId("agree").checked && agreed());
  byId("choose-file").addEventListener("click", () => agreed() && byId("file").click());
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    byId("file").value = ""; // so that the same one can be chosen again
    if (file) alone(() => fromFile(file));
  });
  for (const kind of ["dragover", "drop"]) {
    addEventListener(kind, (event) => event.preventDefault()); // or the browser would leave the page
  }
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      const file = kind === "drop" && event.dataTransfer?.files[0];
      if (file) alone(() => fromFile(file));
    });
  }
  addEventListener("hashchange", () => ({ session } = access.fromAddress()));
  switches(() => {
    fillConsent();
    redraw();
  });
}

async function begin() {
  ({ session } = access.fromAddress());
  const health = fetch("/health").then((answer) => answer.json());
  await use(preferred());
  limits = await health.then(
    (said) => said.config ?? {},
    () => ({}), // what cannot be asked is not claimed
  );
  fillConsent();
  listen();
  byId("main").hidden = false;
  byId("consent").hidden = false;
  mark("consent");
}

begin();
