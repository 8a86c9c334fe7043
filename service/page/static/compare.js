// Two results side by side.

import { el, icon, table } from "./dom.js";
import { has, moment, number, signed, t } from "./texts.js";
import { badgeOf } from "./verdict.js";

const HASH = 8;

/**
 * @param {{job_id: string, finished: string, result: any}[]} jobs two that have succeeded
 * @returns {HTMLElement}
 */
export function comparison(jobs) {
  const verdicts = jobs.map(({ result }) => result);
  const heads = jobs.map(({ finished }, n) => {
    const name = t(n ? "history.second" : "history.first");
    return `${name}: ${moment(finished)}`;
  });
  const mixed = new Set(verdicts.map(basisOf)).size > 1;
  return el(
    "div",
    { class: "panel" },
    mixed && el("p", { class: "notice" }, t("history.same_networks")),
    table(
      "stacked comparison",
      [t("history.what"), ...heads],
      rows().map(([name, of]) => ({ name, cells: verdicts.map((verdict) => of(verdict) ?? "–") })),
    ),
  );
}

/** What the figures of a verdict rest on. @param {any} verdict */
const basisOf = ({ models, calibration }) =>
  [...Object.values(models), calibration ?? { sha256: "" }]
    .map((/** @type {any} */ one) => one.sha256)
    .join();

/** @returns {[string, (verdict: any) => Node|string|null|undefined][]} */
function rows() {
  const two = (/** @type {number|null|undefined} */ value) =>
    value === null || value === undefined ? null : number(value, 2);
  return [
    [t("history.row.risk"), (v) => risk(v)],
    [t("history.row.score"), (v) => two(v.combined_score)],
    [t("history.row.decision"), (v) => t(`decision.${v.decision}`)],
    [t("part.syncnet"), (v) => two(v.syncnet?.score)],
    [t("part.efficientnet"), (v) => two(v.efficientnet?.score)],
    [t("figures.offset"), (v) => v.syncnet && signed(v.syncnet.subframe_offset, 1)],
    [t("figures.confidence"), (v) => v.syncnet && number(v.syncnet.confidence, 3)],
    [t("figures.distance"), (v) => v.syncnet && number(v.syncnet.min_dist, 3)],
    [t("history.row.reasons"), (v) => reasons(v)],
    [t("history.session"), (v) => v.session_id],
    [t("history.row.networks"), (v) => networks(v)],
    [t("history.row.calibration"), (v) => v.calibration?.name ?? t("history.no")],
  ];
}

/** @param {any} verdict */
function risk(verdict) {
  const { risk_level: level, inconclusive } = verdict;
  const words = t(level ? `risk.${level}` : "risk.none");
  const more = inconclusive ? `, ${t("history.inconclusive")}` : "";
  return el("span", { class: "badge" }, icon(badgeOf(verdict)), words, more);
}

/** @param {any} verdict */
const reasons = ({ reason_codes }) =>
  el(
    "ul",
    {},
    ...reason_codes
      .filter((/** @type {string} */ code) => !code.startsWith("DECISION_"))
      .map((/** @type {string} */ code) =>
        el("li", {}, has(`reason.${code}`) ? t(`reason.${code}`) : code),
      ),
  );

/** @param {any} verdict */
const networks = ({ models }) =>
  el(
    "ul",
    {},
    ...Object.values(models).map((/** @type {any} */ model) =>
      el("li", {}, `${model.name} ${model.version} (${model.sha256.slice(0, HASH)})`),
    ),
  );
