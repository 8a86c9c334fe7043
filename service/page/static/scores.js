// The badge, how the score came about, and the reasons.

import { drawing, fitted, line, scale, text } from "./charts.js";
import { el, icon, svg, table } from "./dom.js";
import { explained, has, number, percent, t } from "./texts.js";
import { THRESHOLDS, badgeOf, byTone, contributions, remedies } from "./verdict.js";

const SIGNS = { good: "low", neutral: "info", bad: "high", unsure: "none" };
const BAR = 62;

/** Risk in a word, a shape and a colour; the decision; what it is not. @param {any} verdict */
export function summary(verdict) {
  const { risk_level: risk, decision, combined_score: score } = verdict;
  const kind = badgeOf(verdict);
  const word = el("strong", {}, t(risk ? `risk.${risk}` : "risk.none"));
  const unsure = verdict.inconclusive && el("span", { class: "unsure" }, t("inconclusive.title"));
  return el(
    "section",
    { class: `panel summary risk-${kind}` },
    el("p", { class: "badge" }, icon(kind), el("span", {}, word, unsure)),
    el(
      "div",
      {},
      el("p", { class: "decision" }, t(`decision.${decision}`)),
      score !== null &&
        el(
          "p",
          {},
          el("b", { class: "score" }, t("score.of", { score: number(score, 2) })),
          " ",
          el("span", { class: "quiet" }, t("score.higher")),
        ),
      el("p", { class: "proof" }, icon("info"), el("span", {}, t("never_proof"))),
    ),
  );
}

/** What is missing, and what to do about it. @param {any} verdict */
export function inconclusive(verdict) {
  if (!verdict.inconclusive) return null;
  const items = remedies(verdict).map((found) => {
    const doubt = has(`reason.${found.code}`);
    const { what, todo } = doubt
      ? { what: t(`reason.${found.code}`), todo: t(`advice.${found.code}`) }
      : explained(found);
    const part = found.part && t(`part.${found.part}`);
    return el(
      "li",
      {},
      el("b", {}, part ? t("part.missing", { part, what }) : what),
      el("br"),
      todo,
    );
  });
  return el(
    "section",
    { class: "panel callout" },
    el("h3", {}, icon("none"), t("inconclusive.title")),
    el("p", {}, t("inconclusive.means")),
    items.length > 0 && el("h4", {}, t("inconclusive.todo")),
    items.length > 0 && el("ul", {}, ...items),
  );
}

/** The two scores and how they were weighed, as a table and a bar. @param {any} verdict */
export function scores(verdict) {
  const parts = contributions(verdict);
  const total = verdict.combined_score;
  const { low, medium, high } = THRESHOLDS;
  const names = ["part", "score", "weight", "gives"];
  const calibrated = verdict.calibration;
  const rows = parts.map((one) => ({
    name: el(
      "span",
      {},
      el("span", { class: `swatch ${one.part}`, "aria-hidden": "true" }),
      t(`part.${one.part}`),
    ),
    cells: [
      scoreOf(one),
      one.weight ? percent(one.weight) : t("scores.uncounted"),
      one.weight ? number(one.gives, 2) : "–",
    ],
  }));
  const sum = { name: t("scores.total"), cells: ["", "", total === null ? "–" : number(total, 2)] };
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, t("scores.title")),
    total !== null && fitted((width) => bar(parts, total, !calibrated, width)),
    table("stacked scores", names.map((name) => t(`scores.${name}`)), [...rows, sum]),
    el(
      "p",
      { class: "quiet" },
      calibrated
        ? t("scores.calibrated", { name: calibrated.name })
        : t("scores.thresholds", {
            low: number(low, 1),
            medium: number(medium, 1),
            high: number(high, 1),
          }),
    ),
  );
}

/** @param {{score: number|null, raw: number|null}} part */
function scoreOf({ score, raw }) {
  if (score === null) return "–";
  const shown = number(score, 2);
  if (raw === null || Math.abs(raw - score) < 0.005) return shown;
  return `${shown} (${t("scores.before", { raw: number(raw, 2) })})`;
}

/** @param {ReturnType<typeof contributions>} parts @param {number} total @param {boolean} marked
 * @param {number} width */
function bar(parts, total, marked, width) {
  const x = scale([0, 1], [14, width - 14]);
  let from = 0;
  const counted = parts.filter(({ weight }) => weight);
  const pieces = counted.map(({ part, gives }) => {
    const start = x(from);
    from += gives;
    const piece = { class: `piece ${part}`, x: start, y: 12, height: 18 };
    return svg("rect", { ...piece, width: Math.max(x(from) - start, 0) });
  });
  const said = counted.map(({ part, gives }) =>
    t("scores.bar.part", { part: t(`part.${part}`), gives: number(gives, 2) }),
  );
  const at = marked ? [0, ...Object.values(THRESHOLDS), 1] : [0, 1];
  return drawing(
    width,
    BAR,
    {
      role: "img",
      "aria-label": t("scores.bar", { parts: said.join(", "), total: number(total, 2) }),
    },
    svg("rect", { class: "ground", x: x(0), y: 12, width: x(1) - x(0), height: 18 }),
    ...pieces,
    svg(
      "g",
      { class: "axis" },
      ...at.flatMap((value) => [
        line(x(value), 8, x(value), 36, "grid"),
        text(x(value), 52, number(value, 1), { "text-anchor": "middle" }),
      ]),
    ),
    svg("path", { class: "pointer", d: `M${x(total)} 11l-6-9h12z` }),
  );
}

/** What spoke for and against it, in plain words. @param {any} verdict */
export function reasons(verdict) {
  return el(
    "section",
    { class: "panel" },
    el("h3", {}, t("reasons.title")),
    ...byTone(verdict.reason_codes).map(([tone, codes]) =>
      el(
        "div",
        { class: "reasons" },
        el("h4", {}, icon(SIGNS[/** @type {keyof typeof SIGNS} */ (tone)]), t(`reasons.${tone}`)),
        el(
          "ul",
          {},
          ...codes.map((code) =>
            el("li", {}, t(`reason.${code}`), " ", el("code", { class: "quiet" }, code)),
          ),
        ),
      ),
    ),
  );
}
