// Past results of one key: listed, filtered, opened, compared, deleted. All from the job store.

import { AvsyncError, Client } from "/avsync.js";
import * as access from "./access.js";
import { comparison } from "./compare.js";
import { byId, el, icon } from "./dom.js";
import { ResultView, confirmed } from "./result.js";
import { explained, moment, number, preferred, switches, t, use } from "./texts.js";
import { badgeOf } from "./verdict.js";

const PAGE = 20;
const DAY_MS = 86_400_000;

/** @type {any[]} Listed now, newest first. */
let listed = [];
/** @type {string|null} Where the list goes on. */
let next = null;
/** @type {Set<string>} Job ids that were chosen, at most two. */
const chosen = new Set();
/** Draws again what is shown below the list, once the page speaks another language. */
let redraw = () => {};
/** @type {ResultView|null} */
let view = null;

const client = () => new Client(access.credentials());

/** Do something with the service, and say where it fails. @param {() => Promise<void>} deed */
async function attempt(deed) {
  byId("says").textContent = "";
  try {
    await deed();
  } catch (error) {
    const { what, todo } = explained(/** @type {any} */ (error));
    byId("says").textContent = `${what} ${todo}`;
    if (access.REFUSALS.has(/** @type {any} */ (error).code)) askForKey();
  }
}

/** One page of the list. @param {string|null} cursor */
async function fetched(cursor) {
  const query = new URLSearchParams({ limit: String(PAGE) });
  const days = { since: startOf(byId("since").value), until: startOf(byId("until").value, DAY_MS) };
  const wishes = { session_id: byId("session").value.trim(), risk: byId("risk").value, ...days };
  for (const [name, value] of Object.entries({ ...wishes, cursor })) if (value) query.set(name, value);
  const answer = await fetch(`/jobs?${query}`, { headers: access.headers() }).catch((cause) => {
    throw new AvsyncError("network", String(cause));
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new AvsyncError(body.code ?? "internal", body.detail ?? "", { advice: body.advice });
  }
  return body;
}

/** Midnight at the beginning of a day here, or `later` milliseconds after; "" of no day.
 * @param {string} day @param {number} [later] */
const startOf = (day, later = 0) =>
  day && new Date(new Date(`${day}T00:00`).getTime() + later).toISOString();

const list = () =>
  attempt(async () => {
    const { jobs, next: more } = await fetched(null);
    [listed, next] = [jobs, more];
    chosen.clear();
    byId("key-form").hidden = true;
    byId("past").hidden = false;
    drawList();
  });

const older = () =>
  attempt(async () => {
    const at = listed.length;
    const { jobs, next: more } = await fetched(next);
    [listed, next] = [[...listed, ...jobs], more];
    drawList();
    byId("jobs").children[at]?.querySelector("button, input")?.focus();
  });

function drawList() {
  byId("jobs").replaceChildren(...listed.map(entry));
  byId("more").hidden = !next;
  const count = listed.length;
  byId("found").textContent =
    count === 0
      ? t("history.empty")
      : count === 1
        ? t("history.found.one")
        : t("history.found", { n: number(count) });
  drawChoice();
}

/** @param {any} job */
function entry(job) {
  const { job_id: id, session_id: session, state, risk_level: risk, combined_score: score } = job;
  const time = moment(job.created);
  const done = state === "succeeded";
  const kind = badgeOf(job);
  const words = done ? t(risk ? `risk.${risk}` : "risk.none") : t(`state.${state}`);
  const box = el("input", {
    type: "checkbox",
    id: `choose-${id}`,
    "aria-label": t("history.choose.of", { time }),
    onchange: () => choose(id, /** @type {any} */ (box).checked),
  });
  /** @param {string} what @param {() => unknown} onclick */
  const button = (what, onclick) =>
    el(
      "button",
      { type: "button", "aria-label": t(`history.${what}.of`, { time }), onclick },
      t(`history.${what}`),
    );
  return el(
    "li",
    { class: "job", "data-job": id },
    el(
      "div",
      {},
      el("p", { class: `badge small risk-${kind}` }, icon(kind), el("strong", {}, words)),
      el(
        "p",
        {},
        [
          time,
          typeof score === "number" && t("score.of", { score: number(score, 2) }),
          job.inconclusive && t("history.inconclusive"),
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      session &&
        el(
          "p",
          { class: "quiet" },
          `${t("history.session")} `,
          el("code", {}, session),
          " ",
          el("button", { type: "button", class: "link", onclick: () => only(session) }, t("history.only")),
        ),
    ),
    el(
      "div",
      { class: "actions" },
      done && el("span", { class: "choose" }, box, el("label", { for: box.id }, t("history.choose"))),
      done && button("open", () => open(id)),
      button("delete", () => remove(id)),
    ),
  );
}

/** @param {string} session */
function only(session) {
  byId("session").value = session;
  list();
}

/** @param {string} id @param {boolean} wanted */
function choose(id, wanted) {
  if (wanted) chosen.add(id);
  else chosen.delete(id);
  drawChoice();
}

/** Two can be compared: a third is not to be chosen, and fewer are not to be compared. */
function drawChoice() {
  for (const { job_id: id } of listed) {
    const box = document.getElementById(`choose-${id}`);
    if (!(box instanceof HTMLInputElement)) continue;
    box.checked = chosen.has(id);
    box.disabled = chosen.size === 2 && !chosen.has(id);
  }
  byId("compare").disabled = chosen.size !== 2;
  byId("compare-hint").hidden = chosen.size === 2;
}

/** Show something below the list, and go there. @param {string} title @param {() => void} draw */
function show(title, draw) {
  shut();
  redraw = () => {
    byId("shown-title").textContent = t(title);
    draw();
  };
  byId("shown").hidden = false;
  redraw();
  byId("shown-title").focus();
}

function shut() {
  view?.close();
  view = null;
  redraw = () => {};
  byId("shown").hidden = true;
  byId("shown-view").replaceChildren();
}

/** @param {string} id */
const open = (id) =>
  attempt(async () => {
    const { result } = await client().job(id);
    const left = () => {
      shut();
      gone(id);
    };
    show("result.title", () => {
      view ??= new ResultView(byId("shown-view"), result, { recording: null, left });
      view.draw();
    });
  });

const compare = () =>
  attempt(async () => {
    const order = listed.map(({ job_id: id }) => id).filter((id) => chosen.has(id));
    const jobs = await Promise.all(order.map((id) => client().job(id)));
    const draw = () => byId("shown-view").replaceChildren(comparison(/** @type {any} */ (jobs)));
    show("history.compare.title", draw);
  });

/** @param {string} id */
const remove = (id) =>
  attempt(async () => {
    if (!(await confirmed(t("keep.delete.ask"), t("keep.delete.yes")))) return;
    await client().cancel(id);
    if (byId("shown").hidden === false) shut();
    gone(id);
  });

/** Take a deleted result off the list. @param {string} id */
function gone(id) {
  listed = listed.filter((job) => job.job_id !== id);
  chosen.delete(id);
  drawList();
  byId("found").textContent = `${t("history.deleted")} ${byId("found").textContent}`;
}

function askForKey() {
  shut();
  byId("past").hidden = true;
  byId("key-form").hidden = false;
  byId("key").focus();
}

function listen() {
  /** @param {string} id @param {string} kind @param {() => void} deed */
  const on = (id, kind, deed) =>
    byId(id).addEventListener(kind, (/** @type {Event} */ event) => {
      if (kind === "submit") event.preventDefault();
      deed();
    });
  on("key-form", "submit", () => {
    access.keep(byId("key").value);
    byId("key").value = "";
    list();
  });
  on("filter", "submit", list);
  on("filter", "reset", () => setTimeout(list)); // once the fields are empty
  on("forget", "click", () => {
    access.keep("");
    askForKey();
  });
  on("more", "click", older);
  on("compare", "click", compare);
  on("shown-close", "click", () => {
    shut();
    byId("list-title").scrollIntoView();
    byId("compare").focus();
  });
  switches(() => {
    entitle();
    if (!byId("past").hidden) drawList();
    redraw();
  });
}

function entitle() {
  document.title = `${t("history.title")} · ${t("brand")}`;
}

async function begin() {
  await use(preferred());
  entitle();
  listen();
  byId("main").hidden = false;
  if (access.credentials().key) await list();
}

begin();
