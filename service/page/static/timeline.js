// What was measured over the length of the recording, in three rows under one time axis, with a
// playhead that the recording follows.

import { drawing, fitted, line, path, scale, step, text, ticks } from "./charts.js";
import { el, svg } from "./dom.js";
import { at, numbers } from "./moments.js";
import { number, signed, t } from "./texts.js";
import { FRAME_RATE, lengthOf, runs } from "./verdict.js";

const LEFT = 40;
const RIGHT = 12;
const ROW = 72;
const HEAD = 24;
const FOOT = 34;
const LEAST_RANGE = 3;

/**
 * @param {any} verdict
 * @param {{seek(time: number): void, onTime(heard: (time: number) => void): void}|null} player
 */
export function timeline(verdict, player) {
  const length = lengthOf(verdict);
  const reading = el("p", { class: "quiet", "data-live": true });
  /** @type {{head: SVGElement, x: (time: number) => number}|null} */
  let drawn = null;
  let now = 0;
  const move = (/** @type {number} */ time) => {
    now = Math.min(Math.max(time, 0), length);
    const said = at(verdict, now);
    reading.textContent = said;
    place.setAttribute("aria-valuenow", now.toFixed(2));
    place.setAttribute("aria-valuetext", said);
    drawn?.head.setAttribute("transform", `translate(${drawn.x(now)})`);
  };
  const place = fitted(
    (width) => {
      const chart = draw(verdict, length, width, player !== null);
      drawn = chart;
      if (player) move(now);
      return chart.picture;
    },
    { class: player ? "place slider" : "place" },
  );
  if (player) {
    steer(place, length, (time) => player.seek(time), () => now, () => drawn?.x);
    move(now);
    player.onTime(move);
  }
  return el(
    "div",
    {},
    player && el("p", { class: "quiet", "data-live": true }, t("time.hint")),
    place,
    player && reading,
    numbers(verdict),
  );
}

/** Pointer and keys, as of any slider.
 * @param {HTMLElement} place @param {number} length @param {(time: number) => void} seek
 * @param {() => number} now
 * @param {() => ((time: number) => number)|undefined} pixels */
function steer(place, length, seek, now, pixels) {
  const named = { role: "slider", tabindex: "0", "aria-label": t("time.slider") };
  const values = { "aria-valuemin": "0", "aria-valuemax": length.toFixed(2) };
  for (const [name, value] of Object.entries({ ...named, ...values })) {
    place.setAttribute(name, value);
  }
  const go = (/** @type {number} */ time) => seek(Math.min(Math.max(time, 0), length));
  const point = (/** @type {PointerEvent} */ event) => {
    const x = pixels();
    if (!x) return;
    const [from, to] = [x(0), x(length)];
    go(((event.clientX - place.getBoundingClientRect().left - from) / (to - from)) * length);
  };
  place.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    place.setPointerCapture(event.pointerId);
    point(event);
  });
  place.addEventListener("pointermove", (event) => {
    if (place.hasPointerCapture(event.pointerId)) point(event);
  });
  place.addEventListener("keydown", (event) => {
    const frame = 1 / FRAME_RATE;
    const to = {
      ArrowLeft: now() - frame,
      ArrowDown: now() - frame,
      ArrowRight: now() + frame,
      ArrowUp: now() + frame,
      PageDown: now() - 1,
      PageUp: now() + 1,
      Home: 0,
      End: length,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(to);
  });
}

/** @param {any} verdict @param {number} length @param {number} width @param {boolean} live */
function draw(verdict, length, width, live) {
  const { efficientnet, syncnet } = verdict;
  const x = scale([0, length], [LEFT, width - RIGHT]);
  /** @type {((top: number) => SVGElement)[]} */
  const rows = [];
  if (efficientnet) rows.push((top) => faces(efficientnet, x, width, top));
  if (syncnet?.timeline.length) {
    rows.push((top) => offsets(syncnet, x, width, top));
    rows.push((top) => confidences(syncnet, x, width, top));
  }
  const tops = rows.map((_, n) => n * (HEAD + ROW) + HEAD);
  const bottom = rows.length * (HEAD + ROW) + 4;
  const head = svg(
    "g",
    { class: "playhead", transform: `translate(${x(0)})` },
    ...rows.map((_, n) => line(0, tops[n] + 2, 0, tops[n] + ROW - 4, "head")), // titles stay readable
  );
  const by = step(length, width < 480 ? 4 : 8);
  const picture = drawing(
    width,
    bottom + FOOT,
    { role: "img", "aria-label": label(verdict, length) },
    ...rows.map((row, n) => row(tops[n])),
    svg(
      "g",
      { class: "axis" },
      ...ticks(0, length, by).map((second) =>
        text(x(second), bottom + 14, number(second, by < 1 ? 1 : 0), { "text-anchor": "middle" }),
      ),
      text(width - RIGHT, bottom + 30, t("time.seconds"), { "text-anchor": "end" }),
    ),
    live && head,
  );
  return { picture, head, x };
}

/** @param {any} verdict @param {number} length */
function label({ efficientnet, syncnet }, length) {
  if (!efficientnet) return t("time.label.nothing", { length: number(length, 1) });
  return t("time.label", {
    length: number(length, 1),
    frames: efficientnet.num_frames,
    low: number(efficientnet.statistics.min, 2),
    high: number(efficientnet.statistics.max, 2),
    offset: syncnet ? signed(syncnet.subframe_offset, 1) : "–",
  });
}

/**
 * The frame of a row: its title, its ground, its values at the left.
 * @param {string} title @param {number} width @param {number} top @param {number[]} values
 * @param {(value: number) => number} y @param {(value: number) => string} words
 */
const row = (title, width, top, values, y, words) => [
  text(4, top - 8, title, { class: "row-title" }),
  ...values.flatMap((value) => [
    line(LEFT, y(value), width - RIGHT, y(value), "grid"),
    text(LEFT - 6, y(value) + 4, words(value), { class: "axis", "text-anchor": "end" }),
  ]),
];

/** @param {any} artifact @param {(t: number) => number} x @param {number} width @param {number} top */
function faces({ frame_times, frame_scores }, x, width, top) {
  const y = scale([0, 1], [top + ROW - 8, top + 6]);
  /** @type {[number, number][]} */
  const points = frame_times.map((/** @type {number} */ time, /** @type {number} */ n) => [
    x(time),
    y(frame_scores[n]),
  ]);
  return svg(
    "g",
    { class: "faces" },
    ...row(t("time.faces"), width, top, [0, 0.5, 1], y, (value) => number(value, 1)),
    svg("path", { class: "line", d: path(points) }),
    ...points.map(([cx, cy]) => svg("circle", { class: "dot", cx, cy, r: 3 })),
  );
}

/** @param {any} sync @param {(t: number) => number} x @param {number} width @param {number} top */
function offsets({ timeline: moments, changes }, x, width, top) {
  const known = moments.filter((/** @type {any} */ one) => one.offset !== null);
  const farthest = Math.max(
    LEAST_RANGE,
    ...known.flatMap((/** @type {any} */ one) => [Math.abs(one.low), Math.abs(one.high)]),
  );
  const most = Math.ceil(farthest);
  const y = scale([-most, most], [top + ROW - 8, top + 6]);
  const parts = runs(moments).map((run) => {
    const above = run.map((one) => [x(one.time_s), y(one.high)]);
    const below = run.map((one) => [x(one.time_s), y(one.low)]).reverse();
    const lone = run.length === 1 && line(above[0][0], above[0][1], above[0][0], below[0][1], "bar");
    return svg(
      "g",
      {},
      lone || svg("path", { class: "band", d: `${path(/** @type {any} */ ([...above, ...below]))}Z` }),
      svg("path", { class: "line", d: path(run.map((one) => [x(one.time_s), y(one.offset)])) }),
      ...run.map((one) =>
        svg("circle", { class: "dot", cx: x(one.time_s), cy: y(one.offset), r: 3 }),
      ),
    );
  });
  const jumps = changes.flatMap((/** @type {any} */ change) => [
    line(x(change.time_s), top, x(change.time_s), top + ROW - 2, "mark"),
    text(x(change.time_s) + 4, top + ROW - 10, t("time.change"), { class: "mark-words halo" }),
  ]);
  return svg(
    "g",
    {},
    ...row(t("time.offset"), width, top, [-most, 0, most], y, (value) => signed(value)),
    ...(width < 480 ? [] : [aside("high", width, top + 16), aside("low", width, top + ROW - 11)]),
    ...parts,
    ...jumps,
    !known.length &&
      text((LEFT + width - RIGHT) / 2, y(0) - 6, t("time.unknown"), { "text-anchor": "middle" }),
  );
}

/** What an offset of this sign means. @param {"high"|"low"} sign @param {number} width
 * @param {number} y */
const aside = (sign, width, y) =>
  text(width - RIGHT, y, t(`time.offset.${sign}`), { class: "halo", "text-anchor": "end" });

/** @param {any} sync @param {(t: number) => number} x @param {number} width @param {number} top */
function confidences({ timeline: moments }, x, width, top) {
  const values = moments.map((/** @type {any} */ one) => one.confidence);
  const by = step(Math.max(...values, 0.1), 2);
  const most = by * Math.ceil(Math.max(...values, by) / by);
  const y = scale([0, most], [top + ROW - 8, top + 6]);
  const digits = by < 1 ? 1 : 0;
  return svg(
    "g",
    {},
    ...row(t("time.confidence"), width, top, [0, most], y, (value) => number(value, digits)),
    ...moments.map((/** @type {any} */ one) =>
      svg("rect", {
        class: "column",
        x: x(one.time_s) - 6,
        y: y(Math.max(one.confidence, 0)),
        width: 12,
        height: Math.max(y(0) - y(Math.max(one.confidence, 0)), 1),
      }),
    ),
  );
}
