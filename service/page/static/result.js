// The result of one recording with all that it rests on, and what can be done with it.

import { Client } from "/avsync.js";
import * as access from "./access.js";
import { crops, cut } from "./crops.js";
import { curve } from "./curve.js";
import { figures, models } from "./details.js";
import { choice, el, save } from "./dom.js";
import { player } from "./player.js";
import { asJson, asPage } from "./report.js";
import { inconclusive, reasons, scores, summary } from "./scores.js";
import { explained, t } from "./texts.js";
import { timeline } from "./timeline.js";

/** Error rates, fetched once. @type {Promise<any>|null} */
let rates = null;

const measuredRates = () =>
  (rates ??= fetch(new URL("rates.json", import.meta.url))
    .then((answer) => (answer.ok ? answer.json() : Promise.reject()))
    .catch(() => (rates = null)));

export class ResultView {
  /**
   * @param {HTMLElement} place
   * @param {any} verdict as the service answered it
   * @param {object} how
   * @param {Blob|null} how.recording what was scored; null where only the answer is at hand
   * @param {(signal: AbortSignal) => Promise<any>} [how.heatMap] asks for it
   * @param {(said: string) => void} how.left called when the person is done here, or the result was
   *   deleted, with the key of a text that says so
   */
  constructor(place, verdict, { recording, heatMap, left }) {
    this.place = place;
    this.verdict = verdict;
    this.left = left;
    this.ended = new AbortController();
    this.player = recording && player(recording);
    this.pictures = recording && verdict.efficientnet && cut(verdict, recording);
    const known = verdict.efficientnet?.heatmap;
    /** @type {Promise<any>|null} */
    this.heat = known ? Promise.resolve(known) : null;
    this.askHeat = () =>
      (this.heat ??= Promise.resolve(heatMap?.(this.ended.signal)).catch((error) => {
        if (!access.REFUSALS.has(error.code)) this.heat = null; // it may work another time
        throw error;
      }));
    this.#unfoldOnPaper();
  }

  /** Show everything, in the language that the page speaks now. */
  draw() {
    const { verdict, player: playing } = this;
    const parts = [
      !playing && el("p", { class: "notice" }, t("result.saved")),
      summary(verdict),
      inconclusive(verdict),
      reasons(verdict),
      scores(verdict),
      el(
        "section",
        { class: "panel" },
        el("h3", {}, t("time.title")),
        playing?.node,
        timeline(verdict, playing),
      ),
      verdict.syncnet && curve(verdict),
      this.pictures &&
        crops(verdict, this.pictures, (time) => playing?.seek(time), {
          asked: this.heat,
          ask: this.askHeat,
        }),
      models(verdict, measuredRates()),
      figures(verdict),
      this.#keep(),
    ];
    this.place.replaceChildren(...parts.filter((node) => node instanceof Node));
  }

  /** End what would go on by itself. */
  close() {
    this.ended.abort();
    this.player?.close();
    this.place.replaceChildren();
  }

  #unfoldOnPaper() {
    const { signal } = this.ended;
    /** @type {Element[]} */
    let opened = [];
    const before = () => {
      opened = [...this.place.querySelectorAll("details:not([open])")];
      for (const one of opened) one.setAttribute("open", "");
    };
    addEventListener("beforeprint", before, { signal });
    const after = () => opened.forEach((one) => one.removeAttribute("open"));
    addEventListener("afterprint", after, { signal });
  }

  #keep() {
    const { verdict, place } = this;
    const name = `avsync-${verdict.job_id}`;
    /** @param {string} key @param {() => unknown} onclick @param {string} [kind] */
    const button = (key, onclick, kind) =>
      el("button", { type: "button", class: kind, onclick }, t(key));
    const says = el("p", { class: "mistake", role: "alert" });
    return el(
      "section",
      { class: "panel", "data-live": true },
      el("h3", {}, t("keep.title")),
      el(
        "div",
        { class: "actions" },
        button("keep.json", () => save(asJson(verdict), `${name}.json`)),
        button("keep.html", async () => save(await asPage(place), `${name}.html`)),
        button("keep.print", () => print()),
        button("keep.delete", () => this.#delete(says), "danger"),
        this.player && button("keep.again", () => this.left(""), "primary"),
      ),
      says,
    );
  }

  /** @param {HTMLElement} says */
  async #delete(says) {
    says.textContent = "";
    if (!(await confirmed(t("keep.delete.ask"), t("keep.delete.yes")))) return;
    try {
      await new Client(access.credentials()).cancel(this.verdict.job_id);
      if (!this.ended.signal.aborted) this.left("keep.deleted");
    } catch (error) {
      const { what, todo } = explained(error);
      says.textContent = `${what} ${todo}`;
    }
  }
}

/** Whether the person means it. @param {string} question @param {string} word */
export async function confirmed(question, word) {
  const yes = el("button", { type: "button", class: "danger" }, word);
  const no = el("button", { type: "button" }, t("cancel"));
  const dialog = /** @type {HTMLDialogElement} */ (
    el(
      "dialog",
      { "aria-labelledby": "confirm-question" },
      el("p", { id: "confirm-question" }, question),
      el("div", { class: "actions" }, no, yes),
    )
  );
  document.body.append(dialog);
  dialog.showModal();
  const closed = new Promise((resolve) => dialog.addEventListener("close", () => resolve("no")));
  const answer = await Promise.race([choice({ yes, no }), closed]);
  dialog.close();
  dialog.remove();
  return answer === "yes";
}
