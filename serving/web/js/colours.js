/** Colours of pictures: the product's own where its catalogue names one, else one that its category always has. */

const NAMED = {
  white: "#e9e6de", cream: "#eadfc4", "light grey": "#b9bcc0", sand: "#cdb990", grey: "#8d9196", silver: "#b4b9bd",
  black: "#3a3b3e", charcoal: "#4a4e54", navy: "#2f4368", espresso: "#5a4033", brown: "#7a5540", gold: "#b6923a",
  terracotta: "#c0684a", mustard: "#cda032", rust: "#ab5430", burgundy: "#7d2f41",
  "sky blue": "#6fb1dd", teal: "#22868a", petrol: "#26606f", mint: "#83c9a9", blue: "#3f74c0", turquoise: "#3aa6a6",
  olive: "#7d7d3d", "forest green": "#2f6145", sage: "#96a887", moss: "#66794a", green: "#4a8c59",
  "blush pink": "#e0a9aa", lavender: "#a794cc", "powder blue": "#9dbcd6", peach: "#ecb08b", pink: "#d987a5", purple: "#7c5a9e",
  "bright red": "#cf3a36", "lemon yellow": "#e0c83a", orange: "#df7d2c", cobalt: "#2b55b3", red: "#bd3b38", yellow: "#dcbb3b",
  "soft nude": "#cfa48d", "honey beige": "#c89f70", rosewood: "#8d4a4b", "cherry red": "#a9253a", "brick red": "#a2483a",
  ruby: "#9b2140", blackberry: "#4d2a48", plum: "#6d3558", raspberry: "#b02f5c", "coral pink": "#e5786b", peony: "#d8739b",
  fuchsia: "#bb3583",
};
const PLAIN = ["#4e7d8c", "#8a6f9e", "#a3765a", "#5f8a63", "#b08a3e", "#9c5c6c", "#5b74a8", "#7b8552"];

/** A whole number that a text always has (FNV-1a). */
export function hashed(text) {
  let hash = 2166136261;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  return hash >>> 0;
}

/** The colour that the attributes name, null where they name none that is known. */
export function colourOf(attributes) {
  const named = attributes?.colour ?? attributes?.color;
  const first = Array.isArray(named) ? named[0] : named;
  return typeof first === "string" ? (NAMED[first.toLowerCase()] ?? null) : null;
}

export const colourOfCategory = (category) => PLAIN[hashed(category ?? "") % PLAIN.length];

/** `share` of another colour mixed in, both as #rrggbb. */
export function mixed(colour, other, share) {
  const [first, second] = [colour, other].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return `#${first.map((value, i) => Math.round(value + (second[i] - value) * share).toString(16).padStart(2, "0")).join("")}`;
}

/** Whether a product of this colour would vanish on its own tint. */
export const isPale = (colour) => [1, 3, 5].every((at) => parseInt(colour.slice(at, at + 2), 16) > 175);
