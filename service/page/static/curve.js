// The offset curve: how far voice and lips are apart at every offset, and where they fit best.

import { drawing, fitted, line, path, scale, step, text, ticks } from "./charts.js";
import { el, svg } from "./dom.js";
import { number, signed, t } from "./texts.js";
import { median } from "./verdict.js";

const HEIGHT = 230;
const LEFT = 46;
const RIGHT = 58;
const TOP = 42;
const BOTTOM = 40;

/** @param {any} verdict whose `syncnet` there is */
export const curve = (verdict) =>
  el(
    "section",
    { class: "panel" },
    el("h3", {}, t("curve.title")),
    el("p", {}, said(verdict)),
    fitted((width) => draw(verdict.syncnet, width)),
    el("p", { class: "quiet" }, t("curve.deep")),
  );

/** @param {any} verdict */
function said({ reason_codes, syncnet: { offset_frames: offset, lag_ms, doubts } }) {
  if (doubts.length) return t("curve.doubtful");
  if (reason_codes.includes("LOW_CONFIDENCE")) return t("reason.LOW_CONFIDENCE");
  if (!offset) return t("curve.fits");
  return t(offset > 0 ? "curve.early" : "curve.late", { ms: number(Math.abs(lag_ms)) });
}

/** @param {any} sync @param {number} width */
function draw({ curve: { offsets, distances }, offset_frames, confidence, min_dist }, width) {
  const middle = median(distances);
  const low = Math.min(...distances);
  const high = Math.max(...distances);
  const room = (high - low || 1) * 0.12;
  const x = scale([offsets[0], offsets[offsets.length - 1]], [LEFT, width - RIGHT]);
  const y = scale([low - room, high + room], [HEIGHT - BOTTOM, TOP]);
  const by = step(high - low || 1, 4);
  const digits = Math.max(0, -Math.floor(Math.log10(by)));
  const floor = HEIGHT - BOTTOM;
  const xy = (/** @type {number} */ at, /** @type {number} */ n) => [x(at), y(distances[n])];
  const least = text(x(offset_frames), TOP - 10, t("curve.least", { offset: signed(offset_frames) }), {
    class: "mark-words",
    "text-anchor": x(offset_frames) > width - 80 ? "end" : x(offset_frames) < 100 ? "start" : "middle",
  });
  return drawing(
    width,
    HEIGHT,
    {
      role: "img",
      "aria-label": t("curve.label", {
        count: offsets.length,
        least: number(min_dist, 3),
        offset: signed(offset_frames),
        median: number(middle, 3),
        confidence: number(confidence, 3),
      }),
    },
    svg(
      "g",
      { class: "axis" },
      ...ticks(low - room, high + room, by).flatMap((value) => [
        line(LEFT, y(value), width - RIGHT, y(value), "grid"),
        text(LEFT - 6, y(value) + 4, number(value, digits), { "text-anchor": "end" }),
      ]),
      ...ticks(offsets[0], offsets[offsets.length - 1], width < 420 ? 10 : 5).map((value) =>
        text(x(value), floor + 16, signed(value), { "text-anchor": "middle" }),
      ),
      text(width / 2, HEIGHT - 6, t("curve.x"), { "text-anchor": "middle" }),
      text(4, 12, t("curve.y")),
    ),
    line(LEFT, y(middle), width - RIGHT, y(middle), "median"),
    text(width - RIGHT + 4, y(middle) + 4, t("curve.median")),
    line(x(offset_frames), y(min_dist), x(offset_frames), TOP - 6, "mark"),
    svg("path", { class: "line", d: path(offsets.map(xy)) }),
    svg("circle", { class: "mark-dot", cx: x(offset_frames), cy: y(min_dist), r: 5 }),
    least,
  );
}
