// The access code: an API key or an upload token. It stays in this tab and goes to the service only.

const KEPT = "access-code";

/**
 * What the address's fragment says (`#token=ut_…&session=…`), which no server sees and which is
 * taken out of the address bar, so that it is neither bookmarked nor passed on.
 * @returns {{session: string|null}}
 */
export function fromAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const token = said.get("token");
  if (token) keep(token);
  if (token || said.has("session")) history.replaceState(null, "", location.pathname);
  return { session: said.get("session") };
}

/** @returns {string|null} */
export function code() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return kept;
  }
}

/** @type {string|null} Where storage is switched off the code lasts as long as the page. */
let kept = null;

/** @param {string} value */
export function keep(value) {
  kept = value.trim() || null;
  try {
    if (kept) sessionStorage.setItem(KEPT, kept);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Said above.
  }
}

/** As the client takes it. @returns {{token?: string, key?: string}} */
export function credentials() {
  const value = code();
  if (!value) return {};
  return value.startsWith("ut_") ? { token: value } : { key: value };
}

/** @returns {Record<string, string>} */
export function headers() {
  const value = code();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/** Codes that another access code may mend. */
export const REFUSALS = new Set(["unauthorized", "token_expired", "token_used_up"]);
