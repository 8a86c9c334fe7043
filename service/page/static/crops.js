// The face at the moments that decided most, and on request what in it looks touched.

import { REFUSALS } from "./access.js";
import { el } from "./dom.js";
import { pictures } from "./player.js";
import { explained, number, t } from "./texts.js";
import { decisive, faceSquare } from "./verdict.js";

/** The pictures that `crops` shows. @param {any} verdict @param {Blob} recording */
export function cut(verdict, recording) {
  const times = decisive(verdict.efficientnet).map(({ time }) => time);
  return pictures(recording, times, faceSquare(verdict), verdict.video.width);
}

/**
 * @param {any} verdict whose `efficientnet` there is
 * @param {Promise<string[]>} found of `cut`
 * @param {(time: number) => void} seek
 * @param {{asked: Promise<any>|null, ask: () => Promise<any>}} heat asked: for the heat map, before;
 *   ask: for it now
 * @returns {HTMLElement}
 */
export function crops(verdict, found, seek, heat) {
  const list = el("ul", { class: "crops" });
  found.then(
    (images) => {
      const frames = decisive(verdict.efficientnet);
      list.append(...frames.map((frame, n) => crop(frame, images[n], seek)));
    },
    () => list.replaceWith(el("p", {}, t("crops.none"))),
  );
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, t("crops.title")),
    el("p", { class: "quiet" }, t("crops.hint")),
    list,
    request(heat),
  );
}

/** @param {{time: number, score: number}} frame @param {string} src
 * @param {(time: number) => void} seek */
function crop({ time, score }, src, seek) {
  const said = { time: number(time, 2), score: number(score, 2) };
  const picture = el("img", { src, alt: t("crops.alt", said), width: 128, height: 128 });
  const words = el("span", {}, t("crops.caption", said));
  const attributes = { type: "button", class: "crop", onclick: () => seek(time) };
  return el("li", {}, el("button", attributes, picture, words));
}

/** The button that asks for the heat map, and what comes of it.
 * @param {{asked: Promise<any>|null, ask: () => Promise<any>}} heat */
function request({ asked, ask }) {
  const says = el("p", { class: "quiet", role: "status", tabindex: "-1" }, t("heat.why"));
  const button = el(
    "button",
    { type: "button", onclick: () => wait(ask()) },
    t("heat.ask"),
  );
  const place = el("div", { class: "actions", "data-live": true }, button, says);
  /** There will be none: a button that cannot help is taken away. @param {string} why */
  const never = (why) => {
    says.textContent = why;
    if (button === document.activeElement) says.focus();
    button.remove();
  };
  /** @param {Promise<any>} promise */
  const wait = async (promise) => {
    button.setAttribute("aria-disabled", "true");
    says.textContent = t("heat.wait");
    try {
      const found = await promise;
      if (!found) return never(t("reason.MISSING_EFFICIENTNET"));
      const figure = heat(found);
      const focused = button === document.activeElement;
      place.replaceWith(figure);
      if (focused) figure.focus();
    } catch (error) {
      if (REFUSALS.has(/** @type {any} */ (error).code)) return never(t("heat.refused"));
      const { what, todo } = explained(error);
      says.textContent = `${what} ${todo}`;
      button.removeAttribute("aria-disabled");
    }
  };
  if (asked) wait(asked);
  return place;
}

/** @param {{time_s: number, score: number, png: string}} found */
function heat({ time_s, score, png }) {
  const said = { time: number(time_s, 2), score: number(score, 2) };
  return el(
    "figure",
    { class: "heat", tabindex: "-1" },
    el("img", {
      src: `data:image/png;base64,${png}`,
      alt: t("heat.alt", said),
      width: 224,
      height: 224,
    }),
    el("figcaption", {}, el("b", {}, t("crops.caption", said)), " ", t("heat.note")),
  );
}
