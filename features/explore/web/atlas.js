/** The page of an atlas: points on a map, the legend, cluster names, and a search for words. */

function page() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const group = bytes(data.group);
  const kind = bytes(data.kind);
  const n = group.length;
  const KIND_SIZE = [1, 0.8, 1.4, 3];
  const QUERY = 3;
  const NO_GROUP = [0.62, 0.62, 0.62];

  const root = document.getElementById("map");
  const tip = document.getElementById("tip");
  const status = document.getElementById("status");
  const map = pointMap(root, {
    xy: new Uint16Array(bytes(data.xy).buffer),
    size: Uint8Array.from(kind, (code) => KIND_SIZE[code] * 10),
    onDraw: placeLabels,
    onPoint: tell,
  });
  if (map === null) {
    status.textContent = "This map needs WebGL, which this browser does not support.";
    return;
  }

  const shown = data.legend.map(() => true);
  let matches = null;
  const colours = data.legend.map(({ colour }) => [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16) / 255));

  function recolour() {
    const look = new Uint8Array(4 * n);
    for (let i = 0; i < n; i++) {
      const [r, g, b] = kind[i] === QUERY ? [0, 0, 0] : (colours[group[i]] ?? NO_GROUP);
      const visible = group[i] === 255 || shown[group[i]];
      look.set([r * 255, g * 255, b * 255, visible ? 255 : 0], 4 * i);
      if (matches && !matches[i]) look.set([225, 225, 225], 4 * i);
    }
    map.paint(look);
  }

  const labels = data.clusters
    .filter(({ words }) => words)
    .sort((a, b) => b.n - a.n)
    .map((cluster) => {
      const span = document.createElement("span");
      span.textContent = cluster.words;
      document.getElementById("labels").append(span);
      return { ...cluster, span, width: 0 };
    });

  /** Places the names of larger clusters first; a name that would overlap another is hidden. */
  function placeLabels() {
    const taken = [];
    for (const label of labels) {
      const [x, y] = map.toScreen(label.x, label.y);
      label.width ||= label.span.offsetWidth;
      const box = [x - label.width / 2, y - 9, x + label.width / 2, y + 9];
      const free = taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
      label.span.style.visibility = free ? "visible" : "hidden";
      label.span.style.transform = `translate(${box[0]}px, ${box[1]}px)`;
      if (free) taken.push(box);
    }
  }

  function tell(i, left, top) {
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.textContent = data.text[i];
    const [x, y] = [Math.min(left + 12, root.clientWidth - tip.offsetWidth - 4), Math.min(top + 12, root.clientHeight - tip.offsetHeight - 4)];
    tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
  }

  data.legend.forEach(({ name, colour }, place) => {
    const button = document.createElement("button");
    const dot = document.createElement("i");
    dot.style.background = colour;
    button.append(dot, name);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      shown[place] = !shown[place];
      button.setAttribute("aria-pressed", String(shown[place]));
      recolour();
    });
    document.getElementById("legend").append(button);
  });

  document.getElementById("words").addEventListener("input", (event) => {
    const words = event.target.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    matches = words.length ? data.text.map((text) => words.every((word) => text.toLocaleLowerCase().includes(word))) : null;
    const count = matches ? matches.filter(Boolean).length : n;
    status.textContent = matches ? `${count.toLocaleString("en")} of ${n.toLocaleString("en")} points` : "";
    recolour();
  });

  recolour();
}

page();
