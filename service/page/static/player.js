// The recording itself, from this browser's memory, and single pictures of it.

import { el } from "./dom.js";
import { say, t } from "./texts.js";

const PATIENCE_MS = 8000;

/**
 * A player of the recording.
 * @param {Blob} recording
 */
export function player(recording) {
  const url = URL.createObjectURL(recording);
  const video = /** @type {HTMLVideoElement} */ (
    el("video", {
      ...{ controls: true, playsinline: true, preload: "auto" },
      ...{ "data-t-label": "time.video", "aria-label": t("time.video") },
    })
  );
  const node = el("div", { class: "player", "data-live": true }, video);
  /** @type {(time: number) => void} */
  let heard = () => {};
  let settled = false;
  /** @type {number|null} Asked for while the recording is still looked through. */
  let wanted = null;
  const tell = () => settled && heard(video.currentTime);
  let broken = false;
  video.addEventListener("error", () => {
    broken = true;
    node.replaceChildren(say(el("p"), "time.unplayable"));
  });
  video.addEventListener("loadedmetadata", async () => {
    await lengthen(video);
    settled = true;
    if (wanted === null) tell();
    else video.currentTime = wanted;
  });
  for (const kind of ["timeupdate", "seeked"]) video.addEventListener(kind, tell);
  // A few times a second is all that timeupdate tells.
  const follow = () => {
    tell();
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow);
  video.src = url;
  return {
    node,
    /** @param {number} time seconds */
    seek(time) {
      if (broken) return heard(time); // the figures can be looked through all the same
      video.pause();
      wanted = time;
      if (settled) video.currentTime = time;
    },
    /** @param {(time: number) => void} listener in place of the one before */
    onTime(listener) {
      heard = listener;
      tell();
    },
    close() {
      video.pause();
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(url);
    },
  };
}

/** What browsers record does not say how long it is, until its end has been looked for.
 * @param {HTMLVideoElement} video */
async function lengthen(video) {
  if (video.duration !== Infinity) return;
  await after(video, "seeked", () => (video.currentTime = 86_400)).catch(() => {});
  await after(video, "seeked", () => (video.currentTime = 0)).catch(() => {});
}

/**
 * Square cuts of the recording at some moments, as data: URLs of JPEG pictures.
 * @param {Blob} recording
 * @param {number[]} times seconds
 * @param {{x: number, y: number, side: number}|null} square in pixels of a picture `width` wide;
 *   the middle of the picture where it is null
 * @param {number} width
 * @returns {Promise<string[]>} rejects where the browser cannot play the recording
 */
export async function pictures(recording, times, square, width) {
  const url = URL.createObjectURL(recording);
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, preload: "auto" });
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 192;
  const pen = canvas.getContext("2d");
  const found = [];
  try {
    await after(video, "loadedmetadata", () => (video.src = url)); // a telephone loads no more
    const grown = video.videoWidth / width;
    const least = Math.min(video.videoWidth, video.videoHeight);
    const cut = square
      ? { x: square.x * grown, y: square.y * grown, side: square.side * grown }
      : { x: (video.videoWidth - least) / 2, y: (video.videoHeight - least) / 2, side: least };
    for (const time of times) {
      await after(video, "seeked", () => (video.currentTime = time));
      pen?.drawImage(video, cut.x, cut.y, cut.side, cut.side, 0, 0, canvas.width, canvas.height);
      found.push(canvas.toDataURL("image/jpeg", 0.85));
    }
  } finally {
    video.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
  return found;
}

/** That an event came of what is done. Rejects on an error, and where it does not come.
 * @param {HTMLVideoElement} video @param {string} kind @param {() => void} begin */
function after(video, kind, begin) {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const end = (/** @type {(value?: any) => void} */ how) => (/** @type {any} */ said) => {
      clearTimeout(timer);
      over.abort();
      how(said);
    };
    const late = () => end(reject)(new Error(`no ${kind}`));
    const timer = setTimeout(late, PATIENCE_MS);
    video.addEventListener(kind, end(resolve), { signal: over.signal });
    video.addEventListener("error", () => end(reject)(video.error), { signal: over.signal });
    begin();
  });
}
