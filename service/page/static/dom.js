// Elements and icons. Nothing here ever reads markup from a string.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} name
 * @param {Record<string, unknown>} [attributes] `onclick` and the like are listeners; `true` is an
 *   attribute without a value; null, undefined and false leave it out.
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function el(name, attributes = {}, ...children) {
  return /** @type {HTMLElement} */ (fill(document.createElement(name), attributes, children));
}

/**
 * The same of a drawing.
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {SVGElement}
 */
export function svg(name, attributes = {}, ...children) {
  return /** @type {SVGElement} */ (fill(document.createElementNS(SVG, name), attributes, children));
}

/** @param {Element} node @param {Record<string, unknown>} attributes @param {unknown[]} children */
function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), /** @type {any} */ (value));
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/**
 * The element of that id. Pages and scripts are one: where it is absent, they do not fit.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

// Every risk has a shape of its own, so that colour is never needed to tell them apart.
const ICONS = {
  low: ["M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z", "M7.5 12.5l3 3 6-6.5"],
  medium: ["M12 1.5L22.5 12 12 22.5 1.5 12z", "M12 7v6M12 16.2v.3"],
  high: ["M12 2L23 21.5H1z", "M12 9v6M12 18.2v.3"],
  critical: ["M7.8 2h8.4L22 7.8v8.4L16.2 22H7.8L2 16.2V7.8z", "M8.5 8.5l7 7M15.5 8.5l-7 7"],
  none: [
    "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z",
    "M9 9.5a3 3 0 1 1 4.2 2.7c-.8.4-1.2.9-1.2 1.8M12 17v.3",
  ],
  info: ["M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z", "M12 11v6M12 7.2v.3"],
};

/**
 * A picture that says nothing words beside it do not say.
 * @param {string} name of ICONS
 */
export function icon(name) {
  const [shape, sign] = ICONS[/** @type {keyof typeof ICONS} */ (name)];
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { d: shape }),
    svg("path", { d: sign }),
  );
}

/**
 * A table. Where styles make something else of its rows, the roles say that it is one all the same.
 * @param {string} kind its class; "stacked": on a telephone, each row is a grid below its name
 * @param {string[]} heads
 * @param {{name: Node|string, cells: (Node|string)[]}[]} rows
 */
export function table(kind, heads, rows) {
  const head = heads.map((words) => el("th", { scope: "col", role: "columnheader" }, words));
  const body = rows.map(({ name, cells }) =>
    el(
      "tr",
      { role: "row" },
      el("th", { scope: "row", role: "rowheader" }, name),
      ...cells.map((content) => el("td", { role: "cell" }, content)),
    ),
  );
  return el(
    "table",
    { class: kind, role: "table" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)),
    el("tbody", { role: "rowgroup" }, ...body),
  );
}

/**
 * Hand a file to the person in front of the page.
 * @param {Blob} blob @param {string} name
 */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * The name of the button that is clicked, or the form that is sent, first.
 * @template {string} Name
 * @param {Record<Name, HTMLElement>} ways
 * @param {AbortSignal} [signal] ends the waiting: the promise is rejected with its reason
 * @returns {Promise<Name>}
 */
export function choice(ways, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const over = new AbortController();
    /** @param {EventTarget} target @param {string} kind @param {() => void} act */
    const once = (target, kind, act) => {
      const ended = (/** @type {Event} */ event) => {
        event.preventDefault();
        over.abort();
        act();
      };
      target.addEventListener(kind, ended, { signal: over.signal });
    };
    for (const [name, node] of Object.entries(ways)) {
      const kind = node instanceof HTMLFormElement ? "submit" : "click";
      once(/** @type {HTMLElement} */ (node), kind, () => resolve(/** @type {Name} */ (name)));
    }
    if (signal) once(signal, "abort", () => reject(signal.reason));
  });
}
