// The result of one recording with all that it rests on, and what can be done with it.

import { Client } from "/avsync.js";
import * as access from "./access.js";
import { crops } from "./crops.js";
import { curve } from "./curve.js";
import { figures, models } from "./details.js";
import { choice, el, save } from "./dom.js";
import { player } from "./player.js";
import { inconclusive, reasons, scores, summary } from "./scores.js";
import { explained, t } from "./texts.js";
import { timeline } from "./timeline.js";

/** Error rates, fetched once. @type {Promise<any>|null} */
let rates = null;

const measuredRates = () =>
  (rates ??= fetch(new URL("rates.json", import.meta.url))
    .then((answer) => (answer.ok ? answer.json() : null))
    .catch(() => null));

export class ResultView {
  /**
   * @param {HTMLElement} place
   * @param {any} verdict as the service answered it
   * @param {{recording: Blob|null, heatMap?: () => Promise<any>, left: (said: string) => void}} how
   *   recording: what was scored, null where only the service's answer is at hand; left: called
   *   when the person is done here, or the result was deleted
   */
  constructor(place, verdict, { recording, heatMap, left }) {
    this.place = place;
    this.verdict = verdict;
    this.recording = recording;
    this.left = left;
    /** @type {any} */
    this.heat = verdict.efficientnet?.heatmap ?? null;
    this.askHeat = async () => (this.heat = (await heatMap?.()) ?? null);
    /** @type {{close(): void}[]} */
    this.open = [];
  }

  /** Show everything, in the language that the page speaks now. */
  async draw() {
    const measured = await measuredRates();
    this.close();
    const { verdict, recording } = this;
    const playing = recording && player(recording);
    const charts = [scores(verdict)];
    const times = timeline(verdict, playing);
    charts.push(times);
    const best = verdict.syncnet && curve(verdict);
    if (best) charts.push(best);
    this.place.replaceChildren(
      ...[
        !recording && el("p", { class: "notice" }, t("result.saved")),
        summary(verdict),
        inconclusive(verdict),
        reasons(verdict),
        charts[0].node,
        el(
          "section",
          { class: "panel" },
          el("h3", {}, t("time.title")),
          playing && playing.node,
          times.node,
        ),
        best && best.node,
        recording &&
          verdict.efficientnet &&
          crops(verdict, recording, {
            ask: this.askHeat,
            seek: (time) => playing?.seek(time),
            known: this.heat,
          }),
        models(verdict, measured),
        figures(verdict),
        this.#keep(),
      ].filter((node) => node instanceof Node),
    );
    for (const chart of charts) chart.drawn(); // now that their places have a width
    this.open = playing ? [...charts, playing] : charts;
    this.#openForPrint();
  }

  /** End what would go on by itself. */
  close() {
    for (const part of this.open) part.close();
    this.open = [];
    this.place.replaceChildren();
  }

  /** On paper nothing can be unfolded. */
  #openForPrint() {
    const folded = () => [...this.place.querySelectorAll("details:not([open])")];
    /** @type {Element[]} */
    let opened = [];
    const before = () => (opened = folded()).forEach((one) => one.setAttribute("open", ""));
    const after = () => opened.forEach((one) => one.removeAttribute("open"));
    addEventListener("beforeprint", before);
    addEventListener("afterprint", after);
    this.open.push({
      close() {
        removeEventListener("beforeprint", before);
        removeEventListener("afterprint", after);
      },
    });
  }

  #keep() {
    const { verdict, place } = this;
    const name = `avsync-${verdict.job_id}`;
    const report = () => import("./report.js");
    /** @param {string} id @param {string} key @param {() => unknown} onclick @param {string} [kind] */
    const button = (id, key, onclick, kind) =>
      el("button", { type: "button", id, class: kind, onclick }, t(key));
    const says = el("p", { class: "mistake", role: "alert" });
    return el(
      "section",
      { class: "panel keep", "data-live": true },
      el("h3", {}, t("keep.title")),
      el(
        "div",
        { class: "actions" },
        button("download-json", "keep.json", async () =>
          save((await report()).asJson(verdict), `${name}.json`),
        ),
        button("download-html", "keep.html", async () =>
          save(await (await report()).asPage(place), `${name}.html`),
        ),
        button("print", "keep.print", () => print()),
        button("delete", "keep.delete", () => this.#delete(says), "danger"),
        this.recording &&
          button("again", "keep.again", () => this.left(""), "primary"),
      ),
      says,
    );
  }

  /** @param {HTMLElement} says */
  async #delete(says) {
    if (!(await confirmed(t("keep.delete.ask"), t("keep.delete.yes")))) return;
    try {
      await new Client(access.credentials()).cancel(this.verdict.job_id);
      this.left(t("keep.deleted"));
    } catch (error) {
      const { what, todo } = explained(/** @type {any} */ (error));
      says.textContent = `${what} ${todo}`;
    }
  }
}

/** Whether the person means it. @param {string} question @param {string} word */
export async function confirmed(question, word) {
  const yes = el("button", { type: "button", class: "danger", id: "confirm-yes" }, word);
  const no = el("button", { type: "button", id: "confirm-no" }, t("cancel"));
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
