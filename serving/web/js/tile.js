/** The picture of a product that has none: what its category looks like, in the product's colour, always the same. */

import { colourOf, colourOfCategory, hashed, isPale, mixed } from "./colours.js";
import { svg } from "./dom.js";
import { drawingOf } from "./drawings.js";

const SIZE = 96;
const PALE_GROUND = "#6f7f86";

/** An SVG for {itemId, title, category, brand, attributes}; decoration only, as the card says it all in words. */
export function tile({ itemId, title, category, brand, attributes }) {
  const colour = colourOf(attributes) ?? colourOfCategory(category);
  const tones = { a: colour, d: mixed(colour, "#101418", 0.32), l: mixed(colour, "#ffffff", 0.5), k: "#33363b", w: "#fbfaf7" };
  const ground = isPale(colour) ? PALE_GROUND : colour;
  const drawing = drawingOf(category, title);
  return svg(
    "svg",
    { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "tile", "aria-hidden": "true", focusable: "false" },
    svg("rect", { width: SIZE, height: SIZE, fill: ground, class: "tile-ground" }),
    backdrop(itemId, ground),
    drawing === null ? initials(brand ?? title ?? itemId, tones.d) : drawing.map(([tone, path]) => shape(path, tones[tone])),
  );
}

function shape(path, tone) {
  // A path that begins with "~" is a line.
  return path.startsWith("~")
    ? svg("path", { d: path.slice(1), fill: "none", stroke: tone, "stroke-width": 3.2, "stroke-linecap": "round", "stroke-linejoin": "round" })
    : svg("path", { d: path, fill: tone });
}

/** A disc behind the product, where the item's own id puts it: so that variants of a product look different. */
function backdrop(itemId, colour) {
  const hash = hashed(itemId);
  const [x, y, radius] = [28 + (hash % 40), 30 + ((hash >>> 8) % 34), 26 + ((hash >>> 16) % 12)];
  return svg("circle", { cx: x, cy: y, r: radius, fill: colour, class: "tile-disc" });
}

function initials(name, tone) {
  const letters = name.split(/\s+/).filter(Boolean).slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
  return svg("text", { x: 48, y: 60, "text-anchor": "middle", class: "tile-initials", fill: tone, text: letters });
}
