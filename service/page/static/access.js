// The access code: an API key or an upload token. It stays in this tab and goes to the service only.

const KEPT = "access-code";

/**
 * What the address's fragment says (`#token=ut_…&session=…`), which no server sees and which is
 * taken out of the address bar, so that it is neither bookmarked nor passed on.
 * @returns {string|null} the session
 */
export function fromAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const token = said.get("token");
  if (token) keep(token);
  if (token || said.has("session")) history.replaceState(null, "", location.pathname);
  return said.get("session");
}

/** @returns {string|null} */
export function code() {
  try {
    return sessionStorage.getItem(KEPT) ?? kept;
  } catch {
    return kept;
  }
}

/** @type {string|null} Where nothing can be stored the code lasts as long as the page. */
let kept = null;

/** @param {string} value "" to forget it */
export function keep(value) {
  const given = value.trim();
  kept = null;
  try {
    if (given) sessionStorage.setItem(KEPT, given);
    else sessionStorage.removeItem(KEPT);
  } catch {
    kept = given || null;
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
