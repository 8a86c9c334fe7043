// Camera and microphone: the check, the phrase, the countdown, the recording.

import { AvsyncError, Recorder } from "/avsync.js";
import { CameraCheck } from "./check.js";
import { byId, choice, el, icon } from "./dom.js";
import { say } from "./texts.js";

const SECONDS = 4;
const COUNT_FROM = 3;
const PHRASES = 6;

// Which problem of the check belongs to which of its three readings.
const READINGS = {
  face: ["NO_FACE", "SEVERAL_FACES", "FACE_SMALL", "FACE_AT_EDGE"],
  light: ["TOO_DARK", "TOO_BRIGHT"],
  sound: ["SILENT", "LOUD"],
};

/** Before the first reading. */
const UNREAD = { faces: null, light: null, level: null, ready: false, waiting: true, problems: [] };

/**
 * A recording of whoever sits before the camera; null where they went back.
 * @param {(step: "check"|"record") => void} enter shows that step
 * @returns {Promise<Blob|null>} rejects with AvsyncError
 */
export async function capture(enter) {
  enter("check");
  const recorder = await opened();
  if (!recorder) return null;
  const lost = new AbortController();
  const gone = () => lost.abort(new AvsyncError("denied", "The camera was taken away."));
  for (const track of recorder.stream.getTracks()) track.addEventListener("ended", gone);
  const video = byId("camera-video");
  video.srcObject = recorder.stream;
  video.play().catch(() => {}); // it may be taken away before it has begun
  try {
    while (await checked(recorder, lost.signal)) {
      enter("record");
      const recording = await recorded(recorder, lost.signal);
      if (recording) return recording;
      enter("check");
    }
    return null;
  } finally {
    recorder.close();
    video.srcObject = null; // or its last picture would stay
  }
}

/** Camera and microphone, once their owner has allowed them; null where they went back instead. */
async function opened() {
  read(UNREAD);
  byId("check-go").hidden = true;
  say(byId("check-says"), "check.asking");
  const answered = new AbortController();
  const opening = Recorder.open();
  const back = choice({ back: byId("check-back") }, answered.signal).catch(() => null);
  const first = await Promise.race([opening, back]).finally(() => answered.abort());
  if (first instanceof Recorder) return first;
  opening.then((late) => late.close(), () => {});
  return null;
}

/**
 * Whether to go on. The check advises; it holds nobody up.
 * @param {Recorder} recorder @param {AbortSignal} lost
 */
async function checked(recorder, lost) {
  byId("check-go").hidden = false;
  say(byId("check-says"), "");
  read(UNREAD);
  const check = new CameraCheck({ video: byId("camera-video"), recorder, onReading: read });
  check.start();
  try {
    return (await choice({ yes: byId("check-go"), no: byId("check-back") }, lost)) === "yes";
  } finally {
    check.stop();
  }
}

/** @param {import("./check.js").Reading | typeof UNREAD} reading */
function read({ faces, light, level, ready, waiting, problems }) {
  byId("level").value = level ?? 0;
  const looked = { face: faces !== null, light: light !== null, sound: level !== null };
  const unseen = waiting ? "check.waiting" : "check.unknown"; // where the finder cannot run
  const said = Object.entries(READINGS).map(([name, codes]) => {
    const problem = problems.find((code) => codes.includes(code));
    const known = looked[/** @type {keyof typeof looked} */ (name)];
    const key = problem ? `check.${problem}` : known ? "check.good" : unseen;
    return { name, key, sign: problem ? "medium" : known ? "low" : "none" };
  });
  const now = JSON.stringify([ready, said]);
  const list = byId("readings");
  if (list.dataset.said === now) return; // told three times a second, and mostly the same
  list.dataset.said = now;
  say(byId("check-go"), ready ? "check.go" : "check.anyway");
  list.replaceChildren(
    ...said.map(({ name, key, sign }) =>
      el("li", { class: "reading" }, icon(sign), say(el("b"), `check.${name}`), say(el("span"), key)),
    ),
  );
  const wrong = said.filter(({ sign }) => sign === "medium").map(({ key }) => key);
  const keys = ready ? ["check.ready"] : wrong;
  byId("check-says").replaceChildren(
    ...keys.flatMap((key) => [say(el("span"), key), ready ? "" : ". "]),
  );
}

/**
 * The recording; null where the person went back.
 * @param {Recorder} recorder @param {AbortSignal} lost
 */
async function recorded(recorder, lost) {
  const [start, stop, back, count] = ["record-start", "record-stop", "record-back", "count"].map(byId);
  for (let again = false; ; again = true) {
    another();
    say(count, again ? "record.stopped" : "");
    byId("recorded").value = 0;
    running(false);
    if (again) start.focus();
    if ((await choice({ start, back }, lost)) === "back") return null;
    running(true);
    stop.focus();
    const ended = new AbortController();
    stop.onclick = () => ended.abort();
    lost.addEventListener("abort", stop.onclick);
    try {
      await countDown(ended.signal);
      say(count, "record.now"); // then silence: a voice would be recorded
      const recording = await recorder.record(SECONDS, {
        signal: ended.signal,
        onTick: (left) => (byId("recorded").value = 1 - left / SECONDS),
      });
      say(count, "record.done");
      return recording;
    } catch (error) {
      lost.throwIfAborted();
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
    say(byId("count"), "record.starts", { n });
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000, null);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(new AvsyncError("aborted", "Stopped."));
      });
    });
  }
}

/** Another phrase every time, so that a recording made before says something else. */
function another() {
  const [which, n] = crypto.getRandomValues(new Uint32Array(2));
  say(byId("phrase"), `phrase.${1 + (which % PHRASES)}`, { n: 12 + (n % 88) });
}
