// The face at the moments that decided most, and on request what in it looks touched.

import { el } from "./dom.js";
import { pictures } from "./player.js";
import { explained, number, t } from "./texts.js";
import { decisive, faceSquare } from "./verdict.js";

/**
 * @param {any} verdict whose `efficientnet` there is
 * @param {Blob} recording
 * @param {{ask: () => Promise<any>, seek: (time: number) => void, known: any}} how ask: for the heat
 *   map; known: the heat map that was asked for before
 * @returns {HTMLElement}
 */
export function crops(verdict, recording, { ask, seek, known }) {
  const frames = decisive(verdict.efficientnet);
  const list = el("ul", { class: "crops" });
  cut(list, frames, verdict, recording, seek);
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, t("crops.title")),
    el("p", { class: "quiet" }, t("crops.hint")),
    list,
    known ? heat(known) : request(ask),
  );
}

/** @param {HTMLElement} list @param {{time: number, score: number}[]} frames @param {any} verdict
 * @param {Blob} recording @param {(time: number) => void} seek */
async function cut(list, frames, verdict, recording, seek) {
  const times = frames.map(({ time }) => time);
  try {
    const square = faceSquare(verdict);
    const found = await pictures(recording, times, square, verdict.video.width);
    list.replaceChildren(
      ...frames.map(({ time, score }, n) => {
        const said = { time: number(time, 2), score: number(score, 2) };
        const picture = el("img", {
          src: found[n],
          alt: t("crops.alt", said),
          width: 128,
          height: 128,
        });
        const words = el("span", {}, t("crops.caption", said));
        return el(
          "li",
          {},
          el("button", { type: "button", class: "crop", onclick: () => seek(time) }, picture, words),
        );
      }),
    );
  } catch {
    list.replaceWith(el("p", {}, t("crops.none")));
  }
}

/** The button that asks for the heat map, and what comes of it. @param {() => Promise<any>} ask */
function request(ask) {
  const says = el("p", { class: "quiet", role: "status" }, t("heat.why"));
  const button = el(
    "button",
    {
      type: "button",
      id: "heat-ask",
      async onclick() {
        button.setAttribute("disabled", "");
        says.textContent = t("heat.wait");
        try {
          const found = await ask();
          if (found) place.replaceWith(heat(found));
          else says.textContent = t("reason.MISSING_EFFICIENTNET");
        } catch (error) {
          const { what, todo } = explained(/** @type {any} */ (error));
          says.textContent = `${what} ${todo}`;
          button.removeAttribute("disabled");
        }
      },
    },
    t("heat.ask"),
  );
  const place = el("div", { class: "actions", "data-live": true }, button, says);
  return place;
}

/** @param {{time_s: number, score: number, png: string}} found */
function heat({ time_s, score, png }) {
  const said = { time: number(time_s, 2), score: number(score, 2) };
  return el(
    "figure",
    { class: "heat", id: "heat" },
    el("img", {
      src: `data:image/png;base64,${png}`,
      alt: t("heat.alt", said),
      width: 224,
      height: 224,
    }),
    el("figcaption", {}, el("b", {}, t("crops.caption", said)), " ", t("heat.note")),
  );
}
