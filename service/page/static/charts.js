// Axes and lines that the timeline and the offset curve share. A chart is as wide as its place, so
// that its words keep their size on a telephone.

import { el, svg } from "./dom.js";

/**
 * A straight scale from values to pixels.
 * @param {[number, number]} values @param {[number, number]} pixels
 * @returns {(value: number) => number}
 */
export function scale([v0, v1], [p0, p1]) {
  return (value) => round(p0 + ((value - v0) / (v1 - v0 || 1)) * (p1 - p0));
}

/** Round steps that leave about `count` of them. @param {number} span @param {number} count */
export function step(span, count) {
  const rough = span / count;
  const size = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * size).find((n) => n >= rough) ?? rough;
}

/** Multiples of `by` within both ends. @param {number} low @param {number} high @param {number} by */
export function ticks(low, high, by) {
  const first = Math.ceil(low / by - 1e-9);
  const last = Math.floor(high / by + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => (first + n) * by);
}

/** @param {[number, number][]} points */
export const path = (points) => points.map(([x, y], n) => `${n ? "L" : "M"}${x} ${y}`).join("");

/**
 * @param {number} x @param {number} y @param {string} words
 * @param {Record<string, unknown>} [attributes]
 */
export const text = (x, y, words, attributes = {}) =>
  svg("text", { x: round(x), y: round(y), ...attributes }, words);

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} kind */
export const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

/** @param {number} width @param {number} height @param {Record<string, unknown>} attributes
 * @param {...(Node|null|false)} children */
export const drawing = (width, height, attributes, ...children) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, width, class: "chart", ...attributes }, ...children);

/**
 * A place that is drawn once it is in the page, and again whenever it gets wider or narrower.
 * @param {(width: number) => Element} draw
 * @param {Record<string, unknown>} [attributes]
 */
export function fitted(draw, attributes = { class: "place" }) {
  const place = el("div", attributes);
  let drawn = 0;
  const look = () => {
    const width = place.clientWidth;
    if (width && width !== drawn) place.replaceChildren(draw((drawn = width)));
  };
  // The first drawing changes the height: more than an observer may do while sizes are told.
  new ResizeObserver(() => (drawn ? look() : requestAnimationFrame(look))).observe(place);
  return place;
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;
