// The way through the page: consent, camera or file, sending, result. One step is shown at a time.

import * as access from "./access.js";
import { byId } from "./dom.js";
import { asked, describe } from "./problem.js";
import { duration, preferred, say, size, switches, t, use } from "./texts.js";

/**
 * What the service says about itself.
 * @type {{retention_seconds?: number, max_video_size_mb?: number, max_duration_s?: number}}
 */
let limits = {};

/** @type {string|null} */
let session = null;

/** Draws again what keeps no text of its own, once the page speaks another language. */
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
  if (panel === "camera") say(byId("camera-title"), `${step}.title`);
  if (step !== "problem") mark(step);
  notice("");
  byId(`${panel}-title`).focus();
  scrollTo(0, 0);
}

/** Say where on the way the person is. @param {string} step */
function mark(step) {
  for (const item of byId("steps").children) {
    if (item.dataset.step === step) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
}

/** @param {string} key of a text, or "" */
function notice(key) {
  say(byId("notice"), key);
  byId("notice").hidden = !key;
}

/** Whether the person has agreed; where not, they are told what is missing. */
function agreed() {
  const box = byId("agree");
  box.setAttribute("aria-invalid", String(!box.checked));
  say(byId("agree-missing"), box.checked ? "" : "consent.agree.missing");
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

/** What the first load does without. It is here before anything is recorded: no broken line can
 * part a recording from its way. */
const parts = async () => {
  const scripts = [import("./capture.js"), import("./sending.js"), import("./result.js")];
  const [{ capture }, { heatMap, send }, { ResultView }] = await Promise.all(
    /** @type {[any, any, any]} */ (scripts),
  );
  return { capture, heatMap, send, ResultView };
};

/** @typedef {Awaited<ReturnType<typeof parts>>} Parts */

/** @param {(parts: Parts) => Promise<unknown>} way */
async function alone(way) {
  if (underWay || !agreed()) return;
  underWay = true;
  try {
    await way(await parts());
  } catch (error) {
    await failed(error);
    restart();
  } finally {
    underWay = false;
  }
}

/** From the camera to the result. @param {Parts} parts */
async function fromCamera(parts) {
  for (;;) {
    try {
      const recording = await parts.capture(enter);
      if (!recording) return restart();
      return await fromRecording(recording, { partial: false }, parts);
    } catch (error) {
      if ((await failed(error)) === "restart") return restart();
    }
  }
}

/**
 * From a file to the result. A file cannot be recorded again, so what can be measured of it is
 * better than nothing.
 * @param {File} file @param {Parts} parts
 */
async function fromFile(file, parts) {
  const largest = (limits.max_video_size_mb ?? Infinity) * 1024 * 1024;
  if (file.size <= largest) return fromRecording(file, { partial: true }, parts);
  await failed({ code: "too_large" });
  restart();
}

/** @param {Blob} recording @param {{partial: boolean}} how @param {Parts} parts */
async function fromRecording(recording, { partial }, { send, heatMap, ResultView }) {
  const score = keyed((idempotencyKey) =>
    send(recording, { sessionId: session, partial, idempotencyKey }),
  );
  for (;;) {
    let verdict;
    try {
      enter("send");
      verdict = await score();
    } catch (error) {
      if (/** @type {any} */ (error).code === "aborted") return restart("send.cancelled");
      if ((await failed(error)) === "restart") return restart();
      continue;
    }
    const view = new ResultView(byId("result-view"), verdict, {
      recording,
      heatMap: keyed((idempotencyKey, /** @type {AbortSignal} */ ended) =>
        heatMap(recording, { sessionId: verdict.session_id, idempotencyKey }, ended),
      ),
      left: (/** @type {string} */ said) => {
        view.close();
        restart(said);
      },
    });
    redraw = () => view.draw();
    enter("result");
    return view.draw();
  }
}

/**
 * What is sent under the same key again as long as the service may have its job, in spite of an
 * error, and then under another one.
 * @template Answer @template {any[]} Given
 * @param {(key: string, ...given: Given) => Promise<Answer>} sent
 */
function keyed(sent) {
  let key = fresh();
  return async (/** @type {Given} */ ...given) => {
    try {
      return await sent(key, ...given);
    } catch (error) {
      const { code, retryAfter = null } = /** @type {any} */ (error);
      if (retryAfter === null && !/^(network|http_)/.test(code)) key = fresh();
      throw error;
    }
  };
}

/** A name for one sending of one recording. */
const fresh = () => [...crypto.getRandomValues(new Uint32Array(4))].join("-");

/** Back to the beginning, with a word about why. @param {string} [said] the key of a text */
function restart(said = "") {
  redraw = () => {};
  byId("agree").checked = false;
  enter("consent");
  notice(said);
}

/** What depends on the settings of the service. */
function fillConsent() {
  const { retention_seconds: kept, max_video_size_mb: largest, max_duration_s: longest } = limits;
  byId("kept").textContent =
    kept === undefined
      ? t("consent.kept.unknown")
      : kept === 0
        ? t("consent.kept.delivered")
        : t("consent.kept", { time: duration(kept) });
  byId("drop-hint").textContent =
    largest && longest
      ? t("consent.drop", { size: size(largest), length: duration(longest) })
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
    if (file) alone((parts) => fromFile(file, parts));
  });
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      const { dataTransfer: carried, target } = /** @type {DragEvent} */ (event);
      if (!carried?.types.includes("Files")) return;
      event.preventDefault(); // or the browser would leave the page
      const over = drop.contains(/** @type {Node} */ (target));
      drop.classList.toggle("over", over && (kind === "dragenter" || kind === "dragover"));
      const file = over && kind === "drop" && carried.files[0];
      if (file) alone((parts) => fromFile(file, parts));
    });
  }
  // Another visitor's link: nothing of the one before may stay.
  addEventListener("hashchange", () => /[#&](token|session)=/.test(location.hash) && location.reload());
  const changed = () => {
    fillConsent();
    redraw();
  };
  switches(changed, () => notice("problem.network"));
}

/** What cannot be asked is not claimed. */
const settings = () =>
  fetch("/health")
    .then((answer) => answer.json())
    .then(
      (said) => said.config ?? {},
      () => ({}),
    );

async function begin() {
  session = access.fromAddress();
  const asking = settings();
  await use(preferred());
  fillConsent();
  listen();
  byId("main").hidden = false;
  byId("consent").hidden = false;
  mark("consent");
  limits = await asking;
  fillConsent();
}

begin().catch(() => (byId("unloaded").hidden = false));
