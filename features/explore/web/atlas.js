/** A map of many points in WebGL: positions go to the graphics card once, and panning changes two numbers. */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const xy = new Uint16Array(bytes(data.xy).buffer);
  const group = bytes(data.group);
  const kind = bytes(data.kind);
  const n = group.length;
  const KIND_SIZE = [1, 0.8, 1.4, 3];
  const QUERY = 3;
  const NO_GROUP = [0.62, 0.62, 0.62];
  const GRID = 256;

  const map = document.getElementById("map");
  const canvas = map.querySelector("canvas");
  const tip = document.getElementById("tip");
  const status = document.getElementById("status");
  const gl = canvas.getContext("webgl", { antialias: false, preserveDrawingBuffer: true });
  if (!gl) {
    status.textContent = "This browser draws no WebGL; the map needs it.";
    return;
  }

  const view = { x: 0.5, y: 0.5, zoom: 1 };
  const shown = data.legend.map(() => true);
  let found = null;
  let waiting = false;

  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, `
      attribute vec2 at; attribute vec4 look; attribute float size; uniform vec2 centre, scale; uniform float pixels; varying vec4 colour;
      void main() { gl_Position = vec4((at - centre) * scale, 0, 1); gl_PointSize = size * pixels; colour = look; }`],
    [gl.FRAGMENT_SHADER, `
      precision mediump float; varying vec4 colour;
      void main() { if (colour.a == 0.0) discard; vec2 p = gl_PointCoord - 0.5; if (dot(p, p) > 0.25) discard; gl_FragColor = colour; }`],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const uniform = Object.fromEntries(["centre", "scale", "pixels"].map((name) => [name, gl.getUniformLocation(program, name)]));

  function attribute(name, array, length, type, normal) {
    const buffer = gl.createBuffer();
    const place = gl.getAttribLocation(program, name);
    const fill = (values) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.vertexAttribPointer(place, length, type, normal, 0, 0);
    };
    fill(array);
    gl.enableVertexAttribArray(place);
    return fill;
  }
  attribute("at", xy, 2, gl.UNSIGNED_SHORT, true);
  attribute("size", Uint8Array.from(kind, (one) => KIND_SIZE[one] * 10), 1, gl.UNSIGNED_BYTE, false);
  const colours = data.legend.map(({ colour }) => [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16) / 255));
  const look = new Uint8Array(4 * n);
  const fillLook = attribute("look", look, 4, gl.UNSIGNED_BYTE, true);

  const visible = (i) => group[i] === 255 || shown[group[i]];

  function recolour() {
    for (let i = 0; i < n; i++) {
      const [r, g, b] = kind[i] === QUERY ? [0, 0, 0] : (colours[group[i]] ?? NO_GROUP);
      const faint = found && !found[i];
      look.set([r * 255, g * 255, b * 255, visible(i) ? 255 : 0], 4 * i);
      if (faint) look.set([225, 225, 225], 4 * i);
    }
    fillLook(look);
    draw();
  }

  const cells = new Map();
  const cellOf = (i) => ((xy[2 * i] * GRID) >> 16) * GRID + ((xy[2 * i + 1] * GRID) >> 16);
  for (let i = 0; i < n; i++) {
    const cell = cellOf(i);
    if (cells.has(cell)) cells.get(cell).push(i);
    else cells.set(cell, [i]);
  }

  /** Screen pixels a unit of the map takes: the whole map fits at zoom 1, as wide as high. */
  const unit = () => Math.min(map.clientWidth, map.clientHeight) * 0.94 * view.zoom;
  const toScreen = (x, y) => [map.clientWidth / 2 + (x - view.x) * unit(), map.clientHeight / 2 - (y - view.y) * unit()];
  const toMap = (left, top) => [view.x + (left - map.clientWidth / 2) / unit(), view.y - (top - map.clientHeight / 2) / unit()];

  const labels = data.clusters
    .filter(({ words }) => words)
    .sort((a, b) => b.n - a.n)
    .map((cluster) => {
      const span = document.createElement("span");
      span.textContent = cluster.words;
      document.getElementById("labels").append(span);
      return { ...cluster, span, width: 0 };
    });

  /** The larger clusters first; a name that would lie on another is left out until there is room. */
  function placeLabels() {
    const taken = [];
    for (const label of labels) {
      const [x, y] = toScreen(label.x, label.y);
      label.width ||= label.span.offsetWidth;
      const box = [x - label.width / 2, y - 9, x + label.width / 2, y + 9];
      const free = taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
      label.span.style.visibility = free ? "visible" : "hidden";
      label.span.style.transform = `translate(${box[0]}px, ${box[1]}px)`;
      if (free) taken.push(box);
    }
  }

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(map.clientWidth * ratio), Math.round(map.clientHeight * ratio)];
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      gl.viewport(0, 0, width, height);
      gl.clearColor(1, 1, 1, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(uniform.centre, view.x, view.y);
      gl.uniform2f(uniform.scale, (2 * unit()) / map.clientWidth, (2 * unit()) / map.clientHeight);
      const dense = n > 20000 ? 2 : n > 3000 ? 3 : 5;
      gl.uniform1f(uniform.pixels, (Math.min(12, dense * Math.sqrt(view.zoom)) * ratio) / 10);
      gl.drawArrays(gl.POINTS, 0, n);
      placeLabels();
      map.dataset.drawn = String(Number(map.dataset.drawn ?? 0) + 1);
    });
  }

  function zoomAt(left, top, factor) {
    const [x, y] = toMap(left, top);
    view.zoom = Math.min(200, Math.max(0.5, view.zoom * factor));
    const [now, then] = toMap(left, top);
    view.x += x - now;
    view.y += y - then;
    draw();
  }

  /** The nearest visible point within 8 pixels, or -1. */
  function pointAt(left, top) {
    const [x, y] = toMap(left, top);
    const reach = 8 / unit();
    const [low, high] = [x - reach, x + reach].map((one) => Math.floor(one * GRID));
    let [best, least] = [-1, reach * reach];
    for (let column = Math.max(0, low); column <= Math.min(GRID - 1, high); column++) {
      for (let row = Math.max(0, Math.floor((y - reach) * GRID)); row <= Math.min(GRID - 1, Math.floor((y + reach) * GRID)); row++) {
        for (const i of cells.get(column * GRID + row) ?? []) {
          const far = (xy[2 * i] / 65535 - x) ** 2 + (xy[2 * i + 1] / 65535 - y) ** 2;
          if (far < least && visible(i)) [best, least] = [i, far];
        }
      }
    }
    return best;
  }

  function tell(left, top) {
    const i = pointAt(left, top);
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.textContent = data.text[i];
    const [x, y] = [Math.min(left + 12, map.clientWidth - tip.offsetWidth - 4), Math.min(top + 12, map.clientHeight - tip.offsetHeight - 4)];
    tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
  }

  let held = null;
  const within = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  map.addEventListener("pointerdown", (event) => {
    held = within(event);
    map.setPointerCapture(event.pointerId);
    map.classList.add("moving");
    tip.hidden = true;
  });
  map.addEventListener("pointermove", (event) => {
    const at = within(event);
    if (!held) return tell(...at);
    view.x -= (at[0] - held[0]) / unit();
    view.y += (at[1] - held[1]) / unit();
    held = at;
    draw();
  });
  for (const end of ["pointerup", "pointercancel"])
    map.addEventListener(end, () => {
      held = null;
      map.classList.remove("moving");
    });
  map.addEventListener("pointerleave", () => (tip.hidden = true));
  map.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomAt(...within(event), Math.exp(-event.deltaY / 400));
    },
    { passive: false },
  );
  map.addEventListener("keydown", (event) => {
    const step = 60 / unit();
    const centre = [map.clientWidth / 2, map.clientHeight / 2];
    const keys = {
      ArrowLeft: () => (view.x -= step),
      ArrowRight: () => (view.x += step),
      ArrowUp: () => (view.y += step),
      ArrowDown: () => (view.y -= step),
      "+": () => zoomAt(...centre, 1.4),
      "-": () => zoomAt(...centre, 1 / 1.4),
      0: () => Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 }),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
    draw();
  });

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
    found = words.length ? data.text.map((text) => words.every((word) => text.toLocaleLowerCase().includes(word))) : null;
    const count = found ? found.filter(Boolean).length : n;
    status.textContent = found ? `${count.toLocaleString("en")} of ${n.toLocaleString("en")} points` : "";
    recolour();
  });

  new ResizeObserver(draw).observe(map);
  window.addEventListener("beforeprint", draw);
  recolour();
})();
