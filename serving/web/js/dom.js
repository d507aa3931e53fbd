/** Creates elements without parsing markup, so that texts of shops, reviews and shoppers are only ever text. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `text` becomes text; `on` holds listeners; `data` the data attributes; null children are left out. */
export function el(tag, { text, on = {}, data = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  Object.assign(element.dataset, data);
  return finished(element, attributes, children);
}

/** An SVG element. */
export function svg(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  if (text !== undefined) element.textContent = text;
  return finished(element, attributes, children);
}

function finished(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
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
