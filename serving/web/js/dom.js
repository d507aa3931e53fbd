/** Elements made without markup: whatever a shop, a review or a shopper wrote is text and stays text. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `text` becomes text; `on` holds listeners; `data` the data attributes; null children are left out. */
export function el(tag, { text, on = {}, data = {}, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  Object.assign(made.dataset, data);
  return finished(made, attributes, children);
}

/** An SVG element. */
export function svg(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  if (text !== undefined) made.textContent = text;
  return finished(made, attributes, children);
}

function finished(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** 16 random hexadecimal characters; not crypto.randomUUID, which plain http to another machine does not have. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A heading's or a label's text cut at a word. */
export function short(text, length) {
  if (text.length <= length) return text;
  const cut = text.slice(0, length);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), length / 2)).replace(/[\s,–-]+$/, "")}…`;
}
