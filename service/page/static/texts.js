// Every word the pages say, in the language of whoever reads them.

export const LANGUAGES = ["en", "es"];
const KEPT = "lang";

/** @type {Record<string, string>} */
let catalogue = {};
let current = LANGUAGES[0];

/** The language that was chosen before, else the first of the browser's that there is. */
export function preferred() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEPT);
  } catch {
    // Storage is switched off: then the browser's languages decide every time.
  }
  const wishes = [chosen, ...navigator.languages].map((tag) => (tag ?? "").slice(0, 2));
  return wishes.find((tag) => LANGUAGES.includes(tag)) ?? LANGUAGES[0];
}

/**
 * Speak that language from now on, on the whole page.
 * @param {string} lang of LANGUAGES
 */
export async function use(lang) {
  const answer = await fetch(new URL(`texts/${lang}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`no texts for ${lang}: ${answer.status}`);
  catalogue = await answer.json();
  current = lang;
  document.documentElement.lang = lang;
  apply(document);
}

/** @param {string} lang */
export function remember(lang) {
  try {
    localStorage.setItem(KEPT, lang);
  } catch {
    // As above.
  }
}

export const language = () => current;

/** @param {string} key */
export const has = (key) => key in catalogue;

/**
 * A text with its {places} filled.
 * @param {string} key
 * @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  const text = catalogue[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

/**
 * What a code of the service means, and what to do about it. The service's own words, which are
 * English, stand in where it knows a code that this page does not.
 * @param {{code?: string, message?: string, advice?: string}} problem
 */
export function explained({ code = "", message = "", advice = "" }) {
  return {
    what: has(`problem.${code}`) ? t(`problem.${code}`) : message || t("problem.internal"),
    todo: has(`advice.${code}`) ? t(`advice.${code}`) : advice || t("advice.internal"),
  };
}

/** Fill what names its text: data-t its content, data-t-label its accessible name.
 * @param {ParentNode} root */
export function apply(root) {
  for (const node of root.querySelectorAll("[data-t]")) {
    node.textContent = t(/** @type {HTMLElement} */ (node).dataset.t ?? "");
  }
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(/** @type {HTMLElement} */ (node).dataset.tLabel ?? ""));
  }
}

/** @param {number} value @param {number} [digits] */
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(current, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);

/** With its sign, but for nought. @param {number} value @param {number} [digits] */
export const signed = (value, digits = 0) =>
  new Intl.NumberFormat(current, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: "exceptZero",
  }).format(value);

/** @param {number} share 0-1 @param {number} [digits] */
export const percent = (share, digits = 0) =>
  new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: digits }).format(share);

/** @param {string|number|Date} moment */
export const moment = (moment) =>
  new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(
    new Date(moment),
  );

/** A time in the largest unit that says it without a fraction. @param {number} seconds */
export function duration(seconds) {
  const units = { day: 86_400, hour: 3600, minute: 60, second: 1 };
  const [unit, size] = Object.entries(units).find(([, s]) => seconds >= s && seconds % s === 0) ?? [
    "second",
    1,
  ];
  return new Intl.NumberFormat(current, { style: "unit", unit, unitDisplay: "long" }).format(
    seconds / size,
  );
}

/** Two buttons, one for each language; `changed` is called once the page speaks the other.
 * @param {() => void} changed */
export function switches(changed) {
  for (const lang of LANGUAGES) {
    const button = document.getElementById(`lang-${lang}`);
    button?.addEventListener("click", async () => {
      remember(lang);
      await use(lang);
      mark();
      changed();
    });
  }
  mark();
}

function mark() {
  for (const lang of LANGUAGES) {
    const button = document.getElementById(`lang-${lang}`);
    button?.setAttribute("aria-pressed", String(lang === current));
  }
}
