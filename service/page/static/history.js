// Past results of one key: listed, filtered, opened, compared, deleted. All from the job store.

import { AvsyncError, Client } from "/avsync.js";
import * as access from "./access.js";
import { comparison } from "./compare.js";
import { byId, el, icon } from "./dom.js";
import { ResultView, confirmed } from "./result.js";
import { codeOf, explained, moment, number, preferred, say, switches, t, use } from "./texts.js";
import { badgeOf } from "./verdict.js";

const PAGE = 20;

/** @type {any[]} Listed now, newest first. */
let listed = [];
/** @type {string|null} Where the list goes on. */
let next = null;
/** @type {Record<string, string>} What it was asked with. */
let applied = {};
/** @type {Set<string>} Job ids that were chosen, at most two. */
const chosen = new Set();
/** What is shown below the list: which jobs, drawn how, ended how. */
const NOTHING = { jobs: /** @type {string[]} */ ([]), draw: () => {}, close: () => {} };
let shown = NOTHING;
/** What went wrong last. @type {any} */
let trouble = null;
/** How often each was asked for: an answer to what was asked before the last time comes too late. */
const asked = { list: 0, show: 0 };

const client = () => new Client(access.credentials());

/** Do something with the service, and say where it fails. @param {() => Promise<void>} deed */
async function attempt(deed) {
  complain(null);
  try {
    await deed();
  } catch (error) {
    if (access.REFUSALS.has(codeOf(error))) {
      access.keep("");
      askForKey();
    }
    complain(error);
  }
}

/**
 * The same where only the last answer counts.
 * @template Answer
 * @param {keyof typeof asked} kind @param {() => Promise<Answer>} ask
 * @param {(answer: Answer) => void} act
 */
const latest = (kind, ask, act) =>
  attempt(async () => {
    const mine = ++asked[kind];
    try {
      const answer = await ask();
      if (mine === asked[kind]) act(answer);
    } catch (error) {
      if (mine === asked[kind]) throw error;
    }
  });

/** Say what went wrong, where it can be seen; null: nothing. @param {any} error */
function complain(error) {
  trouble = error;
  const { what, todo } = error ? explained(error) : { what: "", todo: "" };
  byId("says").textContent = `${what} ${todo}`.trim();
  if (error) byId("says").scrollIntoView({ block: "nearest" });
}

/** What the form says now. */
const wishes = () => ({
  session_id: byId("session").value.trim(),
  risk: byId("risk").value,
  since: startOf(byId("since").value),
  until: startOf(byId("until").value, 1),
});

/** One page of the list. @param {Record<string, string>} filter @param {string|null} cursor */
async function fetched(filter, cursor) {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const [name, value] of Object.entries({ ...filter, cursor })) if (value) query.set(name, value);
  const answer = await fetch(`/jobs?${query}`, { headers: access.headers() }).catch((cause) => {
    throw new AvsyncError("network", String(cause));
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new AvsyncError(body.code ?? "internal", body.detail ?? "", { advice: body.advice });
  }
  return body;
}

/** Midnight at the beginning of a day here, or so many days later; "" of no day.
 * @param {string} day @param {number} [later] */
function startOf(day, later = 0) {
  if (!day) return "";
  const date = new Date(`${day}T00:00`);
  date.setDate(date.getDate() + later); // not all days have 24 hours
  return date.toISOString();
}

function list() {
  const filter = wishes();
  return latest(
    "list",
    () => fetched(filter, null),
    ({ jobs, next: more }) => {
      [listed, next, applied] = [jobs, more, filter];
      chosen.clear();
      byId("key-form").hidden = true;
      byId("past").hidden = false;
      drawList();
    },
  );
}

const older = () =>
  latest(
    "list",
    () => fetched(applied, next),
    ({ jobs, next: more }) => {
      const at = listed.length;
      [listed, next] = [[...listed, ...jobs], more];
      drawList();
      byId("jobs").children[at]?.querySelector("button, input")?.focus();
    },
  );

function drawList() {
  const times = listed.map(({ created }) => moment(created));
  const name = (/** @type {number} */ n) => {
    const before = times.slice(0, n).filter((time) => time === times[n]).length;
    return before ? `${times[n]} (${before + 1})` : times[n];
  };
  byId("jobs").replaceChildren(...listed.map((job, n) => entry(job, name(n))));
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

/** @param {any} job @param {string} time that no other entry has */
function entry(job, time) {
  const { job_id: id, session_id: session, state, risk_level: risk, combined_score: score } = job;
  const done = state === "succeeded";
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
      el("p", { class: "badge" }, icon(badgeOf(job)), el("strong", {}, words)),
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
async function only(session) {
  byId("session").value = session;
  await list();
  byId("list-title").focus();
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

/** Show something below the list, and go there. @param {string} title @param {typeof shown} what */
function show(title, what) {
  shut();
  shown = what;
  say(byId("shown-title"), title);
  byId("shown").hidden = false;
  shown.draw();
  byId("shown-title").focus();
}

function shut() {
  shown.close();
  shown = NOTHING;
  byId("shown").hidden = true;
  byId("shown-view").replaceChildren();
}

/** @param {string} id */
const open = (id) =>
  latest(
    "show",
    () => client().job(id),
    ({ result }) => {
      const left = () => gone(id);
      const view = new ResultView(byId("shown-view"), result, { recording: null, left });
      show("result.title", { jobs: [id], draw: () => view.draw(), close: () => view.close() });
    },
  );

function compare() {
  const ids = listed.map(({ job_id: id }) => id).filter((id) => chosen.has(id));
  return latest(
    "show",
    () => Promise.all(ids.map((id) => client().job(id))),
    (jobs) => {
      const draw = () => byId("shown-view").replaceChildren(comparison(/** @type {any} */ (jobs)));
      show("history.compare.title", { ...NOTHING, jobs: ids, draw });
    },
  );
}

/** @param {string} id */
async function remove(id) {
  if (!(await confirmed(t("keep.delete.ask"), t("keep.delete.yes")))) return;
  await attempt(async () => {
    await client().cancel(id);
    gone(id);
  });
}

/** Take a deleted result off the page. @param {string} id */
function gone(id) {
  if (shown.jobs.includes(id)) shut();
  listed = listed.filter((job) => job.job_id !== id);
  chosen.delete(id);
  drawList();
  byId("found").textContent = `${t("history.deleted")} ${byId("found").textContent}`;
  byId("list-title").focus(); // what had the focus is away
}

function askForKey() {
  asked.list++; // what is still to come is not shown
  asked.show++;
  shut();
  [listed, next] = [[], null];
  drawList();
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
    byId("list-title").focus();
  });
  const changed = () => {
    entitle();
    drawList();
    shown.draw();
    complain(trouble);
  };
  switches(changed, complain);
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

begin().catch(() => (byId("unloaded").hidden = false));
