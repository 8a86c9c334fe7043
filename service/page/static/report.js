// The result as files that need nothing else: JSON, and a page that can be kept and passed on.

import { el } from "./dom.js";
import { language, moment, t } from "./texts.js";

/** What the service answered, as it answered it. @param {any} verdict */
export const asJson = (verdict) =>
  new Blob([`${JSON.stringify(verdict, null, 2)}\n`], { type: "application/json" });

/**
 * What the page shows now, without what would need the page: no script, no video, no request; its
 * own policy forbids them all.
 * @param {HTMLElement} shown the result as it is drawn
 */
export async function asPage(shown) {
  const style = [...document.styleSheets]
    .filter(({ href }) => href?.startsWith(location.origin)) // what an extension adds is not ours
    .flatMap(({ cssRules }) => [...cssRules].map(({ cssText }) => cssText))
    .join("\n");
  const title = `${t("title")} · ${t("result.title")}`;
  const made = t("report.made", { time: moment(new Date()) });
  const body = el(
    "body",
    { class: "report" },
    el(
      "main",
      {},
      el("h1", {}, t("title")),
      el("p", { class: "quiet" }, made),
      el("h2", {}, t("result.title")),
      still(shown),
    ),
    el("footer", { class: "site" }, el("p", {}, t("never_proof"))),
  );
  const policy = `default-src 'none'; style-src ${await sourceOf(style)}; img-src data:; base-uri 'none'; form-action 'none'`;
  const head = el(
    "head",
    {},
    el("meta", { charset: "utf-8" }),
    el("meta", { "http-equiv": "Content-Security-Policy", content: policy }),
    el("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    el("meta", { name: "color-scheme", content: "light dark" }),
    el("title", {}, title),
    el("style", {}, style),
  );
  const page = el("html", { lang: language() }, head, body);
  return new Blob([`<!doctype html>\n${page.outerHTML}\n`], { type: "text/html" });
}

/** A copy in which nothing can be pressed. @param {HTMLElement} shown */
function still(shown) {
  const copy = /** @type {HTMLElement} */ (shown.cloneNode(true));
  copy.removeAttribute("id");
  for (const node of copy.querySelectorAll("[data-live], .playhead")) node.remove();
  for (const button of copy.querySelectorAll("button")) button.replaceWith(...button.childNodes);
  for (const folded of copy.querySelectorAll("details")) folded.setAttribute("open", "");
  for (const slider of copy.querySelectorAll("[role=slider]")) {
    for (const { name } of [...slider.attributes]) {
      if (name !== "class") slider.removeAttribute(name);
    }
    slider.classList.remove("slider");
  }
  return copy;
}

/** How the policy names this style: by its hash; browsers tell none where a page came by plain
 * HTTP from another machine. @param {string} style */
async function sourceOf(style) {
  if (!globalThis.crypto?.subtle) return "'unsafe-inline'";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style));
  return `'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`;
}
