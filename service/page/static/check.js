// The check before a recording: one face, near enough, whole, in good light; a voice that is heard.
// All of it is measured here in the page, in the middle of what the camera sees. Faces are found by a
// worker, so that nothing ever waits for them; where there can be none, the rest is checked without.

/**
 * @typedef {"TOO_DARK" | "TOO_BRIGHT" | "NO_FACE" | "SEVERAL_FACES" | "FACE_SMALL" | "FACE_AT_EDGE"
 *   | "SILENT" | "LOUD"} Problem
 *
 * @typedef {object} Reading
 * @property {number | null} faces how many; null while the finder is loading or where it cannot run
 * @property {"dark" | "good" | "bright"} light on the face, or on the picture without one
 * @property {number} level of the microphone, 0-1: the loudest since the reading before
 * @property {boolean} ready whether there are no problems
 * @property {boolean} waiting whether the faces will be known soon
 * @property {Problem[]} problems what should be mended first comes first
 *
 * @typedef {import("./faces.js").Face} Face
 * @typedef {{data: Uint8ClampedArray, width: number, height: number}} Picture RGBA
 */

const PERIOD_MS = 330; // three readings a second: words can be read, and a face follows a hint
const PAUSE_MS = 50; // at least, between two readings on a slow machine
const LISTEN_MS = 50; // about as long as the sound behind one level
const ANSWER_MS = 4000; // a worker that needs longer for a picture has died or is of no help
const PATIENCE_MS = 8000; // from here on, being ready does not wait for the finder to load

// The finder averages pictures down to half of this. An exact half is what a browser scales well.
const LONG_SIDE = 320;

// The longest picture that is looked at, against its other side. All pictures are scaled to the same
// area: the sides of a wide one would cost the face in its middle a quarter of its size.
const LONGEST = 4 / 3;

// Mean grey levels. The service calls a face under 50 dark (fusion.py); a cloud may come. A face
// above 215 has lost its cheeks and forehead to white.
const DARK_BELOW = 60;
const BRIGHT_ABOVE = 215;
const LIGHT_SLACK = 8; // so far back into the good before it counts as good again

// Camera pixels of the box's longer side. The service calls a face under 80 small (fusion.py), and
// whoever speaks does not hold still.
const SMALL_BELOW = 96;
const SMALL_SLACK = 10;

const EDGE_SLACK = 0.05; // of the face: once cut off, it must come in so far

// What the finder takes for a face by mistake is mostly small and under 0.7, as real faces are now
// and then (models/face_finder.md). So it takes this confidence to be believed, and less to stay.
const SURE_FROM = 0.7;

// A second face that is smaller than this, against the first, hangs on the wall.
const ANOTHER_TALL = 1 / 3;

// Levels of `Recorder.level`: 60 dB under full scale are 0, speech has 0.4 to 0.8. A quiet room
// stays under HEARD_FROM, 42 dB down. Speech with a mean 6 dB down has its peaks cut off.
const HEARD_FROM = 0.3;
const LOUD_FROM = 0.9;
const LOUD_READINGS = 6; // two seconds: a cry is over before its warning is read

const AGREEING = 2; // readings in a row that change a word

/**
 * A word that changes only when several readings in a row ask for the same other one.
 * @template Word
 */
class Steady {
  /** @type {Word | undefined} */
  #rival;
  #times = 0;

  /** What is said now; undefined before the first reading, which is believed at once.
   * @type {Word | undefined} */
  word = undefined;

  /** @param {Word} word @returns {Word} */
  settle(word) {
    if (this.word === undefined || word === this.word) {
      this.word = word;
      this.#times = 0;
    } else {
      this.#times = word === this.#rival ? this.#times + 1 : 1;
      this.#rival = word;
      if (this.#times >= AGREEING) {
        this.word = word;
        this.#times = 0;
      }
    }
    return this.word;
  }
}

/** Turns what is seen and heard into readings whose words do not flicker. */
export class Judge {
  /** @type {Steady<number>} */
  #faces = new Steady();
  /** @type {Steady<Reading["light"]>} */
  #light = new Steady();
  /** @type {Steady<boolean>} */
  #small = new Steady();
  /** @type {Steady<boolean>} */
  #edge = new Steady();
  #heard = false;
  #loudFor = 0;

  /**
   * @param {object} seen
   * @param {Picture} seen.picture
   * @param {number} seen.zoom camera pixels per pixel of the picture
   * @param {Face[] | null} seen.faces in pixels of the picture; null: not known
   * @param {boolean} seen.waiting as in the reading
   * @param {number} seen.level loudest of the microphone since the last reading, 0-1
   * @param {boolean} seen.muted whether the microphone cannot hear anything
   * @returns {Reading}
   */
  read({ picture, zoom, faces, waiting, level, muted }) {
    const people = inView(faces ?? [], Boolean(this.#faces.word));
    const face = people[0] ?? null;
    const count = faces === null ? null : this.#faces.settle(people.length);
    const light = this.#light.settle(lightWord(luma(picture, face), this.#light.word));
    if (face !== null) {
      const side = zoom * Math.max(face.x2 - face.x1, face.y2 - face.y1);
      this.#small.settle(side < SMALL_BELOW + (this.#small.word ? SMALL_SLACK : 0));
      this.#edge.settle(room(picture, face) < (this.#edge.word ? EDGE_SLACK : 0));
    }
    this.#heard = !muted && (this.#heard || level >= HEARD_FROM);
    this.#loudFor = level >= LOUD_FROM ? LOUD_READINGS : Math.max(0, this.#loudFor - 1);
    const found = {
      TOO_DARK: light === "dark",
      TOO_BRIGHT: light === "bright",
      NO_FACE: count === 0,
      SEVERAL_FACES: count !== null && count > 1,
      FACE_SMALL: count === 1 && this.#small.word === true,
      FACE_AT_EDGE: count === 1 && this.#edge.word === true,
      SILENT: !this.#heard,
      LOUD: this.#loudFor > 0,
    };
    const problems = /** @type {Problem[]} */ (Object.keys(found)).filter((one) => found[one]);
    const ready = problems.length === 0 && !waiting;
    return { faces: count, light, level, ready, waiting, problems };
  }
}

/**
 * Those that count, the largest first.
 * @param {Face[]} faces
 * @param {boolean} known whether one was there before
 */
function inView(faces, known) {
  const tall = (/** @type {Face} */ face) => face.y2 - face.y1;
  const [first, ...others] = faces
    .filter(({ confidence }) => known || confidence >= SURE_FROM)
    .sort((a, b) => tall(b) - tall(a));
  if (first === undefined) return [];
  const counts = (/** @type {Face} */ face) =>
    face.confidence >= SURE_FROM && tall(face) >= ANOTHER_TALL * tall(first);
  return [first, ...others.filter(counts)];
}

/** @param {number} grey 0-255 @param {string | undefined} was */
function lightWord(grey, was) {
  if (grey < DARK_BELOW + (was === "dark" ? LIGHT_SLACK : 0)) return "dark";
  if (grey > BRIGHT_ABOVE - (was === "bright" ? LIGHT_SLACK : 0)) return "bright";
  return "good";
}

/** Mean grey level, 0-255, of a face or, without one, of the whole picture.
 * @param {Picture} picture @param {Face | null} face */
function luma({ data, width, height }, face) {
  const all = { x1: 0, y1: 0, x2: width, y2: height };
  const { x1, y1, x2, y2 } = face ?? all;
  const left = Math.min(Math.max(Math.round(x1), 0), width - 1);
  const top = Math.min(Math.max(Math.round(y1), 0), height - 1);
  const right = Math.min(Math.max(Math.round(x2), left + 1), width);
  const bottom = Math.min(Math.max(Math.round(y2), top + 1), height);
  let sum = 0;
  for (let y = top; y < bottom; y += 1) {
    for (let p = 4 * (y * width + left); p < 4 * (y * width + right); p += 4) {
      sum += 0.299 * data[p] + 0.587 * data[p + 1] + 0.114 * data[p + 2];
    }
  }
  return sum / ((right - left) * (bottom - top));
}

/** From the face to the nearest border, in faces; below 0 it is cut off.
 * @param {Picture} picture @param {Face} face */
function room({ width, height }, { x1, y1, x2, y2 }) {
  return Math.min(
    Math.min(x1, width - x2) / (x2 - x1),
    Math.min(y1, height - y2) / (y2 - y1),
  );
}

/** The face finder in its worker. Loads both when it is made. */
class Finder {
  /** @type {"loading" | "ready" | "absent"} absent: it could not start, or it stopped working */
  state = "loading";
  /** @type {Worker | null} */
  #worker = null;
  #fetching = new AbortController();
  #giveUp = () => {};

  constructor() {
    this.#load().catch(() => this.close());
  }

  async #load() {
    const worker = new Worker(new URL("./faces.js", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.onerror = () => this.close();
    const file = new URL("./face_finder.bin", import.meta.url);
    const answer = await fetch(file, { signal: this.#fetching.signal });
    if (!answer.ok) throw new Error(`no weights: ${answer.status}`);
    const weights = await answer.arrayBuffer();
    await this.#ask(worker, { weights });
    this.state = "ready";
  }

  /**
   * @param {Picture} picture
   * @returns {Promise<Face[] | null>} null while loading or absent
   */
  async find({ data, width, height }) {
    if (this.state !== "ready" || !this.#worker) return null;
    try {
      return await this.#ask(this.#worker, { pixels: data, width, height });
    } catch {
      this.close();
      return null;
    }
  }

  /**
   * One question at a time: each waits for its answer before the next.
   * @param {Worker} worker @param {object} message
   * @returns {Promise<Face[]>}
   */
  #ask(worker, message) {
    if (this.state === "absent") return Promise.reject(new Error("the finder is closed"));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("no answer")), ANSWER_MS);
      this.#giveUp = () => {
        clearTimeout(late);
        reject(new Error("the finder was closed"));
      };
      worker.onmessage = ({ data }) => {
        clearTimeout(late);
        resolve(data);
      };
      worker.postMessage(message);
    });
  }

  close() {
    this.state = "absent";
    this.#fetching.abort();
    this.#worker?.terminate();
    this.#giveUp();
  }
}

/** From a start to its stop. */
class Run {
  finder = new Finder();
  judge = new Judge();
  level = 0; // the loudest since the reading before
  since = performance.now();
  listening = 0; // these two: timers
  next = 0;
}

export class CameraCheck {
  #video;
  #recorder;
  #onReading;
  #canvas = document.createElement("canvas");
  /** @type {Run | null} */
  #run = null;

  /**
   * @param {object} parts
   * @param {HTMLVideoElement} parts.video shows the camera
   * @param {{level(): number, stream?: MediaStream}} parts.recorder `Recorder` of avsync.js
   * @param {(reading: Reading) => void} parts.onReading about three times a second, from the first
   *   picture on
   */
  constructor({ video, recorder, onReading }) {
    this.#video = video;
    this.#recorder = recorder;
    this.#onReading = onReading;
  }

  start() {
    if (this.#run !== null) return;
    const run = new Run();
    run.listening = setInterval(() => {
      run.level = Math.max(run.level, this.#recorder.level());
    }, LISTEN_MS);
    this.#run = run;
    this.#look(run);
  }

  /** No reading comes after this. `start` may be called again. */
  stop() {
    const run = this.#run;
    if (run === null) return;
    this.#run = null;
    clearInterval(run.listening);
    clearTimeout(run.next);
    run.finder.close();
  }

  /** @param {Run} run */
  async #look(run) {
    const began = performance.now();
    const picture = this.#picture();
    if (picture !== null) {
      const faces = await run.finder.find(picture);
      if (this.#run !== run) return;
      const reading = run.judge.read({
        picture,
        zoom: picture.zoom,
        faces,
        waiting: run.finder.state === "loading" && began - run.since < PATIENCE_MS,
        level: run.level,
        muted: isMuted(this.#recorder.stream),
      });
      run.level = 0;
      this.#onReading(reading);
      if (this.#run !== run) return; // stopped by who was told
    }
    const wait = PERIOD_MS - (performance.now() - began);
    run.next = setTimeout(() => this.#look(run), Math.max(PAUSE_MS, wait));
  }

  /**
   * The middle of what the camera shows now, or null before its first picture.
   * @returns {Picture & {zoom: number} | null}
   */
  #picture() {
    const { videoWidth, videoHeight, readyState } = this.#video;
    if (readyState < 2 || videoWidth === 0) return null;
    const least = Math.min(videoWidth, videoHeight);
    const [across, down] = [videoWidth, videoHeight].map((side) => Math.min(side, LONGEST * least));
    const zoom = Math.max(1, across / LONG_SIDE, down / LONG_SIDE);
    const [width, height] = [across, down].map((side) => Math.round(side / zoom));
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
    }
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    if (context === null) return null;
    context.imageSmoothingQuality = "high";
    const [left, top] = [(videoWidth - across) / 2, (videoHeight - down) / 2];
    context.drawImage(this.#video, left, top, across, down, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    return { data, width, height, zoom };
  }
}

/** Whether the microphone is switched off, unplugged or was never there.
 * @param {MediaStream | undefined} stream */
function isMuted(stream) {
  if (!stream) return false;
  const tracks = stream.getAudioTracks();
  return !tracks.some((track) => track.enabled && !track.muted && track.readyState === "live");
}
