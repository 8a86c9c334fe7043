// The timeline in words and numbers.

import { el, table } from "./dom.js";
import { number, signed, t } from "./texts.js";

/** What is known of one moment, in words. @param {any} verdict @param {number} time */
export function at({ efficientnet, syncnet }, time) {
  const said = [t("time.at", { time: number(time, 2) })];
  if (efficientnet) {
    const frame = nearest(efficientnet.frame_times, time);
    const score = number(efficientnet.frame_scores[frame], 2);
    said.push(`${t("time.column.face")} ${score}`);
  }
  if (syncnet?.timeline.length) {
    const times = syncnet.timeline.map((/** @type {any} */ moment) => moment.time_s);
    const moment = syncnet.timeline[nearest(times, time)];
    said.push(`${t("time.column.offset")} ${offsetOf(moment)}`);
    said.push(`${t("time.column.confidence")} ${number(moment.confidence, 2)}`);
  }
  return said.join(" · ");
}

/** @param {number[]} times @param {number} time */
const nearest = (times, time) =>
  times.reduce(
    (best, one, n) => (Math.abs(one - time) < Math.abs(times[best] - time) ? n : best),
    0,
  );

/** @param {any} moment */
const offsetOf = (moment) =>
  moment.offset === null ? t("time.unknown") : signed(moment.offset, 1);

/** The same as tables, for whoever would rather read or hear. @param {any} verdict */
export function numbers({ efficientnet, syncnet }) {
  const heads = (/** @type {string[]} */ ...names) => names.map((name) => t(`time.column.${name}`));
  const moments = (syncnet?.timeline ?? []).map((/** @type {any} */ one) => ({
    name: number(one.time_s, 2),
    cells: [
      offsetOf(one),
      one.offset === null ? "–" : `${signed(one.low, 1)} … ${signed(one.high, 1)}`,
      number(one.confidence, 2),
    ],
  }));
  const frames = (efficientnet?.frame_times ?? []).map(
    (/** @type {number} */ time, /** @type {number} */ n) => ({
      name: number(time, 2),
      cells: [number(efficientnet.frame_scores[n], 3)],
    }),
  );
  return el(
    "details",
    { class: "numbers" },
    el("summary", {}, t("time.numbers")),
    moments.length > 0 && table("", heads("time", "offset", "band", "confidence"), moments),
    frames.length > 0 && table("", heads("time", "face"), frames),
  );
}
