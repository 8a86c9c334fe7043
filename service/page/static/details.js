// All figures, which networks answered, and how often these err.

import { el, table } from "./dom.js";
import { has, number, percent, signed, t } from "./texts.js";
import { ratesFor } from "./verdict.js";

const HASH = 12;

/** Networks whose errors are part of those of the others. */
const FINDERS = ["face_finder", "face_landmarks", "s3fd"];

/** Every figure that is not shown elsewhere, as words and values. @param {any} verdict */
export function figures(verdict) {
  const { syncnet: sync, efficientnet: face, quality, video } = verdict;
  /** @type {[string, string][]} */
  const rows = [];
  if (sync) {
    const { offset_frames, lag_ms, subframe_offset } = sync;
    const values = { frames: signed(offset_frames), ms: signed(lag_ms) };
    const offset = t("figures.offset.value", { ...values, sub: signed(subframe_offset, 1) });
    rows.push(["offset", offset]);
    rows.push(["confidence", number(sync.confidence, 3)], ["distance", number(sync.min_dist, 3)]);
    rows.push(["protocol", sync.protocol], ["faces", number(verdict.debug.num_results)]);
  }
  if (face) {
    rows.push(["consistency", number(face.consistency, 2)]);
    rows.push(["flicker", number(face.temporal_consistency, 2)]);
  }
  if (quality) {
    rows.push(["brightness", number(quality.brightness)], ["sharpness", number(quality.sharpness)]);
    rows.push(["face", t("figures.pixels", { n: number(quality.face_size) })]);
    if (quality.snr_db !== null) {
      rows.push(["noise", t("figures.decibels", { n: number(quality.snr_db) })]);
    }
  }
  const { width, height, codec } = video;
  const shown = { seconds: number(video.duration_s, 2), fps: number(video.fps, 1) };
  rows.push(["video", t("figures.video.value", { ...shown, width, height, codec })]);
  const took = number(verdict.processing_time_ms / 1000, 1);
  rows.push(["took", t("figures.took.value", { seconds: took })]);
  rows.push(["job", verdict.job_id], ["session", verdict.session_id]);
  rows.push(["request", verdict.request_id]);
  return el(
    "details",
    { class: "panel" },
    el("summary", {}, el("h3", {}, t("figures.title"))),
    el(
      "dl",
      { class: "figures" },
      ...rows.map(([name, value]) =>
        el("div", {}, el("dt", {}, t(`figures.${name}`)), el("dd", {}, value)),
      ),
    ),
  );
}

/**
 * @param {any} verdict
 * @param {Promise<any>} rates of rates.json; null where they cannot be fetched
 */
export function models(verdict, rates) {
  const node = described(verdict, null);
  rates.then((known) => known && node.replaceWith(described(verdict, known)));
  return node;
}

/** @param {any} verdict @param {any} rates */
function described(verdict, rates) {
  const { calibration } = verdict;
  const found = rates && ratesFor(verdict, rates);
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, t("models.title")),
    el(
      "p",
      {},
      calibration
        ? t("models.calibration", {
            name: calibration.name,
            made: calibration.made,
            offset: signed(calibration.capture_offset, 1),
            hash: calibration.sha256.slice(0, HASH),
          })
        : t("models.uncalibrated"),
    ),
    found && el("p", { class: "quiet" }, t("rates.hint")),
    found && el("h4", {}, t("rates.verdict")),
    found &&
      (found.verdict ? measured(found.verdict) : el("p", {}, t("rates.verdict.unmeasured"))),
    ...Object.values(verdict.models).flatMap((/** @type {any} */ model) => [
      el("h4", {}, model.name),
      el(
        "p",
        { class: "quiet" },
        [
          `${t("models.version")} ${model.version}`,
          t(`models.origin.${model.origin}`),
          `${t("models.hash")} ${model.sha256.slice(0, HASH)}`,
        ].join(" · "),
      ),
      found &&
        (found.parts[model.name]
          ? measured(found.parts[model.name])
          : !FINDERS.includes(model.name) && el("p", {}, t("rates.unmeasured"))),
    ]),
  );
}

/** @param {any[]} rows of one threshold */
function measured(rows) {
  const threshold = number(rows[0].threshold, 1);
  const heads = [
    t("rates.against"),
    t("rates.refused", { threshold }),
    t("rates.accepted", { threshold }),
  ];
  const found = rows.map(({ against, refused, accepted }) => ({
    name: has(`rate.${against}`) ? t(`rate.${against}`) : against,
    cells: [rate(refused), rate(accepted)],
  }));
  return table("stacked rates", heads, found);
}

/** @param {{value: number, low: number|null, high: number|null, count: number}|null} figure */
function rate(figure) {
  if (!figure) return t("rates.none");
  const { value, low, high, count } = figure;
  const said = { value: percent(value), count: number(count) };
  if (low === null || high === null) return t("rates.figure.plain", said);
  return t("rates.figure", { ...said, low: percent(low), high: percent(high) });
}
