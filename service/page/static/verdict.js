// What a verdict says, read for showing it. Pure: values in, values out.

const PARTS = ["syncnet", "efficientnet"];

/** Frames a second of everything that the service analyses. */
export const FRAME_RATE = 25;

/** Where the risks begin unless a calibration says otherwise. */
export const THRESHOLDS = { low: 0.8, medium: 0.6, high: 0.4 };

const CROPS = 4;
const APART_S = 0.3;

/** Every reason code but the decisions, by how it speaks. */
const TONES = {
  good: ["HIGH_SYNC_SCORE", "LOW_OFFSET", "HIGH_CONFIDENCE", "LOW_DISTANCE", "NO_ARTIFACTS"],
  neutral: [
    ...["MEDIUM_SYNC_SCORE", "MEDIUM_OFFSET", "MEDIUM_CONFIDENCE", "MEDIUM_DISTANCE"],
    "ARTIFACTS_UNDECIDED",
  ],
  bad: [
    ...["LOW_SYNC_SCORE", "HIGH_OFFSET", "LOW_CONFIDENCE", "HIGH_DISTANCE", "OFFSET_CHANGES"],
    ...["ARTIFACTS_LIKELY", "ARTIFACTS_VARY"],
  ],
  unsure: [
    ...["NO_SPEECH", "MUSIC", "MOUTH_STILL", "FACE_TURNED", "STILL_PICTURE"],
    ...["DARK_FACE", "BLURRED_FACE", "SMALL_FACE", "NOISY_SOUND"],
    ...["MISSING_SYNCNET", "MISSING_EFFICIENTNET", "INCONCLUSIVE"],
  ],
};

/**
 * The name of the badge's shape and colour: nothing looks good, or bad, that is inconclusive.
 * @param {{risk_level: string|null, inconclusive: boolean|null}} answer
 */
export const badgeOf = ({ risk_level: risk, inconclusive }) =>
  risk && !inconclusive ? risk.toLowerCase() : "none";

/**
 * The codes in four groups; one that this page does not know is left to the figures.
 * @param {string[]} codes
 * @returns {[string, string[]][]} without empty groups
 */
export function byTone(codes) {
  const groups = Object.entries(TONES).map(([tone, of]) => [
    tone,
    codes.filter((code) => of.includes(code)),
  ]);
  return /** @type {any} */ (groups.filter(([, found]) => found.length));
}

/**
 * What each part gives to the combined score.
 * @param {any} verdict
 * @returns {{part: string, score: number|null, raw: number|null, weight: number, gives: number}[]}
 */
export function contributions(verdict) {
  return PARTS.map((part) => {
    const measured = verdict[part];
    const weight = verdict.weights[part] ?? 0;
    return {
      part,
      score: measured?.score ?? null,
      raw: measured?.raw_score ?? null,
      weight,
      gives: weight * (measured?.score ?? 0),
    };
  });
}

/** Seconds that a chart over the recording spans. @param {any} verdict */
export function lengthOf({ video, efficientnet, syncnet }) {
  const times = [
    ...(efficientnet?.frame_times ?? []),
    ...(syncnet?.timeline ?? []).map((/** @type {any} */ moment) => moment.time_s),
  ];
  return Math.max(video.duration_s, ...times, 1 / FRAME_RATE);
}

/**
 * The frames of the face with the lowest scores, lowest first, no two from nearly the same moment.
 * @param {{frame_scores: number[], frame_times: number[]}} artifact
 * @returns {{time: number, score: number}[]}
 */
export function decisive({ frame_scores, frame_times }) {
  const frames = frame_times
    .map((time, number) => ({ time, score: frame_scores[number] }))
    .sort((a, b) => a.score - b.score);
  /** @type {{time: number, score: number}[]} */
  const chosen = [];
  for (const frame of frames) {
    if (chosen.length === CROPS) break;
    if (chosen.every(({ time }) => Math.abs(time - frame.time) >= APART_S)) chosen.push(frame);
  }
  return chosen;
}

/**
 * The square of the picture around the face that the verdict is about, in pixels of the recording;
 * null where no face was followed. @param {any} verdict
 */
export function faceSquare({ syncnet, video }) {
  const track = syncnet?.tracks.find((/** @type {any} */ one) => one.chosen);
  if (!track) return null;
  const [x1, y1, x2, y2] = track.mean_box;
  const side = Math.min(1.4 * Math.max(x2 - x1, y2 - y1), video.width, video.height);
  const within = (/** @type {number} */ middle, /** @type {number} */ most) =>
    Math.min(Math.max(middle - side / 2, 0), most - side);
  return {
    x: within((x1 + x2) / 2, video.width),
    y: within((y1 + y2) / 2, video.height),
    side,
  };
}

/** The middle value. @param {number[]} values not empty */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Neighbouring moments that have an offset, in runs without a gap.
 * @param {any[]} timeline
 * @returns {any[][]}
 */
export function runs(timeline) {
  /** @type {any[][]} */
  const found = [[]];
  for (const moment of timeline) {
    if (moment.offset === null) found.push([]);
    else found[found.length - 1].push(moment);
  }
  return found.filter((run) => run.length);
}

/** What to do about an inconclusive answer, as codes. @param {any} verdict */
export function remedies({ missing, syncnet }) {
  return [
    ...missing,
    ...(syncnet?.doubts ?? []).map((/** @type {string} */ code) => ({ code, part: null })),
  ];
}

/**
 * Which measured rates hold for this verdict: those of the very weights that answered.
 * @param {any} verdict
 * @param {any} rates of rates.json
 */
export function ratesFor({ models, calibration }, { verdict, parts }) {
  /** @type {{name: string, sha256: string}[]} */
  const answered = Object.values(models);
  const hashes = new Map(answered.map(({ name, sha256 }) => [name, sha256]));
  const same = Object.entries(verdict.networks).every(([name, hash]) => hashes.get(name) === hash);
  const known = answered.filter(({ name, sha256 }) => parts[name]?.sha256 === sha256);
  return {
    verdict: same && !calibration ? verdict.rows : null,
    parts: Object.fromEntries(known.map(({ name }) => [name, parts[name].rows])),
  };
}
