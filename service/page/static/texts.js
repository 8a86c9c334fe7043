// Every word the pages say, in the language of whoever reads them.

const LANGUAGES = ["en", "es"];
const KEPT = "lang";

/** @type {Record<string, string>} */
let catalogue = {};
let current = LANGUAGES[0];
let wishes = 0;

/** The language that was chosen before, else the first of the browser's that there is. */
export function preferred() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEPT);
  } catch {
    // Storage is switched off: then the browser's languages decide every time.
  }
  const tags = [chosen, ...navigator.languages].map((tag) => (tag ?? "").slice(0, 2));
  return tags.find((tag) => LANGUAGES.includes(tag)) ?? LANGUAGES[0];
}

/**
 * Speak that language from now on, on the whole page.
 * @param {string} lang of LANGUAGES
 * @returns {Promise<boolean>} false where another was asked for before this one was here
 */
export async function use(lang) {
  const wish = ++wishes;
  const answer = await fetch(new URL(`texts/${lang}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`no texts for ${lang}: ${answer.status}`);
  const texts = await answer.json();
  if (wish !== wishes) return false;
  [catalogue, current] = [texts, lang];
  document.documentElement.lang = lang;
  for (const node of document.querySelectorAll("[data-t]")) {
    const { t: key = "", values = "{}" } = /** @type {HTMLElement} */ (node).dataset;
    node.textContent = t(key, JSON.parse(values));
  }
  for (const node of document.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(/** @type {HTMLElement} */ (node).dataset.tLabel ?? ""));
  }
  for (const one of LANGUAGES) {
    document.getElementById(`lang-${one}`)?.setAttribute("aria-pressed", String(one === lang));
  }
  return true;
}

/** @param {string} lang */
function remember(lang) {
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
 * Give an element a text that it keeps in whatever language the page speaks later.
 * @template {HTMLElement} Kind
 * @param {Kind} node
 * @param {string} key "" for no text
 * @param {Record<string, string|number>} [values] the same in every language
 * @returns {Kind}
 */
export function say(node, key, values = {}) {
  if (key) Object.assign(node.dataset, { t: key, values: JSON.stringify(values) });
  else delete node.dataset.t;
  node.textContent = key && t(key, values);
  return node;
}

/** Of what stands before the service, and answers in its stead. @type {Record<string, string>} */
const OTHERS = { http_413: "too_large", http_429: "rate_limited", http_503: "busy" };

/** The code of whatever was thrown; "page" where the page itself broke. @param {any} error */
export function codeOf({ code }) {
  if (typeof code !== "string") return "page";
  return OTHERS[code] ?? (code.startsWith("http_") ? "internal" : code);
}

/**
 * What went wrong, and what to do about it. The service's own words, which are English, stand in
 * where it knows a code that this page does not.
 * @param {any} error an AvsyncError, a problem of the service, or whatever else was thrown
 */
export function explained(error) {
  const code = codeOf(error);
  return {
    what: has(`problem.${code}`) ? t(`problem.${code}`) : error.message || t("problem.internal"),
    todo: has(`advice.${code}`) ? t(`advice.${code}`) : error.advice || t("advice.internal"),
  };
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
  new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "medium" }).format(
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

/** @param {number} megabytes */
export function size(megabytes) {
  const [unit, value] = megabytes < 1 ? ["kilobyte", megabytes * 1024] : ["megabyte", megabytes];
  const form = { style: /** @type {"unit"} */ ("unit"), unit, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(current, form).format(value);
}

/**
 * Two buttons, one for each language.
 * @param {() => void} changed called once the page speaks the other
 * @param {(error: unknown) => void} failed where its texts cannot be had
 */
export function switches(changed, failed) {
  for (const lang of LANGUAGES) {
    document.getElementById(`lang-${lang}`)?.addEventListener("click", async () => {
      try {
        if (!(await use(lang))) return;
        remember(lang);
        changed();
      } catch (error) {
        failed(error);
      }
    });
  }
}
