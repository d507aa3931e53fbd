/** The map of all items: colours by group, rings around what is opened, names under the pointer. */

import { ask, Problem } from "./api.js";
import { byId, el, svg } from "./dom.js";
import { pointMap } from "./point_map.js";

const NO_GROUP = [163, 163, 163];
const NAMES = { category: "category", popularity: "popularity", cold: "cold or warm" };
const LAYOUTS = {
  "t-SNE": "Items with similar text and behaviour are close together (t-SNE). Distances between separate groups mean little.",
  PCA: "A quick layout by the two main components (PCA). For one by neighbourhoods, run: recsys releases atlas current",
};

/** Load the map and draw it; onOpen receives the id of an item. Resolves to {mark}, null where there is none to draw. */
export async function openMap(onOpen) {
  try {
    return drawn(await ask("GET", "/v1/inspect/map"), onOpen);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("map-note").textContent = `The map cannot be shown: ${error.message}`;
    return null;
  }
}

function drawn(items, onOpen) {
  const n = items.item_ids.length;
  const rows = new Map(items.item_ids.map((id, i) => [id, i]));
  const xy = new Uint16Array(2 * n);
  for (let i = 0; i < n; i++) xy.set([items.x[i], items.y[i]], 2 * i);
  let marked = [];
  let pointed = -1;

  /** Rings around what is opened and around the point in question. */
  function marks() {
    const at = (i) => map.toScreen(xy[2 * i] / 65535, xy[2 * i + 1] / 65535);
    const rings = marked.map(([i, isOpened]) => {
      const [cx, cy] = at(i);
      return svg("circle", { cx, cy, r: isOpened ? 9 : 5, class: isOpened ? "opened" : "beside" });
    });
    if (pointed >= 0) {
      const [cx, cy] = at(pointed);
      rings.push(svg("circle", { cx, cy, r: 7 }));
    }
    byId("map-marks").replaceChildren(...rings);
  }
  const map = pointMap(byId("map"), {
    xy,
    size: new Uint8Array(n).fill(10),
    onDraw: marks,
    onPoint(i) {
      if (i === pointed) return;
      pointed = i;
      byId("map-name").textContent = i < 0 ? "" : items.titles[i];
      marks();
    },
    onOpen: (i) => onOpen(items.item_ids[i]),
  });
  byId("map-title").textContent = `All ${n.toLocaleString()} items`;
  if (map === null) {
    byId("map-note").textContent = "The map needs WebGL, which this browser does not support.";
    return null;
  }
  byId("map-note").textContent = LAYOUTS[items.layout];
  colours(items.groupings, map, n);
  return {
    /** ids: of the items to ring, the opened one first ("" for none). */
    mark(ids) {
      marked = ids.map((id, place) => [rows.get(id), place === 0]).filter(([i]) => i !== undefined);
      marks();
    },
  };
}

/** The choice of a grouping, and its legend, whose groups can be switched off. */
function colours(groupings, map, n) {
  const choice = byId("map-by");
  choice.replaceChildren(...groupings.map(({ by }) => el("option", { value: by, text: NAMES[by] ?? by })));
  choice.disabled = false;
  const chosen = () => {
    const { groups, codes } = groupings.find(({ by }) => by === choice.value);
    const shown = groups.map(() => true);
    const tones = groups.map(({ colour }) => [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16)));
    const paint = () => {
      const look = new Uint8Array(4 * n);
      for (let i = 0; i < n; i++) look.set([...(tones[codes[i]] ?? NO_GROUP), codes[i] < 0 || shown[codes[i]] ? 255 : 0], 4 * i);
      map.paint(look);
    };
    byId("map-legend").replaceChildren(...groups.map((group, place) => toggle(group, shown, place, paint)));
    paint();
  };
  choice.addEventListener("change", chosen);
  chosen();
}

function toggle({ name, colour }, shown, place, paint) {
  const dot = svg("svg", { viewBox: "0 0 10 10", class: "dot", "aria-hidden": "true" }, svg("circle", { cx: 5, cy: 5, r: 5, fill: colour }));
  const button = el("button", { type: "button", "aria-pressed": "true" }, dot, name);
  button.addEventListener("click", () => {
    shown[place] = !shown[place];
    button.setAttribute("aria-pressed", String(shown[place]));
    paint();
  });
  return button;
}
