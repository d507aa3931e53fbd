/** A map of many points in WebGL. Positions are uploaded to the GPU once; panning and zooming only change uniforms. */

const GRID = 256;
const CLICK_PIXELS = 4;
const SHADERS = [
  ["VERTEX_SHADER", `
    attribute vec2 at; attribute vec4 look; attribute float size; uniform vec2 centre, scale; uniform float pixels; varying vec4 colour;
    void main() { gl_Position = vec4((at - centre) * scale, 0, 1); gl_PointSize = size * pixels; colour = look; }`],
  ["FRAGMENT_SHADER", `
    precision mediump float; varying vec4 colour;
    void main() { if (colour.a == 0.0) discard; vec2 p = gl_PointCoord - 0.5; if (dot(p, p) > 0.25) discard; gl_FragColor = colour; }`],
];

/**
 * Draw into the canvas of `map`, a focusable element. xy: Uint16Array, two numbers per point, 65535 stands for 1; size:
 * Uint8Array, in tenths of the usual point size. onDraw(): called after each frame; onPoint(i, left, top): the point
 * under the pointer, or at the centre while keys pan, -1 for none; onOpen(i): a click on a point, or Enter for the one
 * at the centre. Returns null if the browser does not support WebGL.
 */
export function pointMap(map, { xy, size, onDraw = () => {}, onPoint = () => {}, onOpen = () => {} }) {
  const n = size.length;
  const canvas = map.querySelector("canvas");
  const gl = canvas.getContext("webgl", { antialias: false, preserveDrawingBuffer: true });
  if (!gl) return null;
  const program = linked(gl);
  const uniform = Object.fromEntries(["centre", "scale", "pixels"].map((name) => [name, gl.getUniformLocation(program, name)]));
  let look = new Uint8Array(4 * n);
  attribute(gl, program, "at", xy, 2, gl.UNSIGNED_SHORT, true);
  attribute(gl, program, "size", size, 1, gl.UNSIGNED_BYTE, false);
  const fillLook = attribute(gl, program, "look", look, 4, gl.UNSIGNED_BYTE, true);

  const cells = celled(xy);

  const view = { x: 0.5, y: 0.5, zoom: 1 };
  let waiting = false;
  /** Screen pixels per unit of the map; at zoom 1 the whole map fits into the smaller side. */
  const unit = () => Math.min(map.clientWidth, map.clientHeight) * 0.94 * view.zoom;
  const toScreen = (x, y) => [map.clientWidth / 2 + (x - view.x) * unit(), map.clientHeight / 2 - (y - view.y) * unit()];
  const toMap = (left, top) => [view.x + (left - map.clientWidth / 2) / unit(), view.y - (top - map.clientHeight / 2) / unit()];
  const middle = () => [map.clientWidth / 2, map.clientHeight / 2];

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [map.clientWidth, map.clientHeight].map((side) => Math.round(side * ratio));
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      gl.viewport(0, 0, width, height);
      gl.clearColor(1, 1, 1, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(uniform.centre, view.x, view.y);
      gl.uniform2f(uniform.scale, (2 * unit()) / map.clientWidth, (2 * unit()) / map.clientHeight);
      const dense = n > 20000 ? 2 : n > 3000 ? 3 : n > 500 ? 5 : 8;
      gl.uniform1f(uniform.pixels, (Math.min(12, dense * Math.sqrt(view.zoom)) * ratio) / 10);
      gl.drawArrays(gl.POINTS, 0, n);
      onDraw();
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

  /** The nearest visible point within that many pixels, or -1. */
  function pointAt(left, top, pixels = 8) {
    const [x, y] = toMap(left, top);
    const reach = pixels / unit();
    const [low, high] = [x - reach, x + reach].map((edge) => Math.floor(edge * GRID));
    let [best, least] = [-1, reach * reach];
    for (let column = Math.max(0, low); column <= Math.min(GRID - 1, high); column++) {
      for (let row = Math.max(0, Math.floor((y - reach) * GRID)); row <= Math.min(GRID - 1, Math.floor((y + reach) * GRID)); row++) {
        for (const i of cells.get(column * GRID + row) ?? []) {
          const far = (xy[2 * i] / 65535 - x) ** 2 + (xy[2 * i + 1] / 65535 - y) ** 2;
          if (far < least && look[4 * i + 3] > 0) [best, least] = [i, far];
        }
      }
    }
    return best;
  }

  function show(x, y, zoom) {
    Object.assign(view, { x, y, zoom });
    draw();
  }
  const pan = (x, y) => show(view.x + x / unit(), view.y + y / unit(), view.zoom);
  listen(map, { pan, show, zoomAt, pointAt, middle, onPoint, onOpen });
  new ResizeObserver(draw).observe(map);
  window.addEventListener("beforeprint", draw);
  return {
    toScreen,
    show,
    /** Uint8Array of red, green, blue and opacity of each point; opacity 0 hides a point. */
    paint(colours) {
      look = colours;
      fillLook(colours);
      draw();
    },
  };
}

/** The points grouped by grid cell. */
function celled(xy) {
  const cells = new Map();
  for (let i = 0; 2 * i < xy.length; i++) {
    const cell = ((xy[2 * i] * GRID) >> 16) * GRID + ((xy[2 * i + 1] * GRID) >> 16);
    if (!cells.has(cell)) cells.set(cell, []);
    cells.get(cell).push(i);
  }
  return cells;
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [type, source] of SHADERS) {
    const shader = gl.createShader(gl[type]);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  return program;
}

function attribute(gl, program, name, array, length, type, normal) {
  const buffer = gl.createBuffer();
  const place = gl.getAttribLocation(program, name);
  gl.enableVertexAttribArray(place);
  const fill = (values) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.vertexAttribPointer(place, length, type, normal, 0, 0);
  };
  fill(array);
  return fill;
}

/** Drag and arrow keys pan; the wheel, two fingers, + and - zoom; 0 shows all. */
function listen(map, { pan, show, zoomAt, pointAt, middle, onPoint, onOpen }) {
  const held = new Map();
  let moved = 0;
  const within = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  map.addEventListener("pointerdown", (event) => {
    if (held.size === 0) moved = 0;
    held.set(event.pointerId, within(event));
    map.setPointerCapture(event.pointerId);
    map.classList.add("moving");
    onPoint(-1, ...within(event));
  });
  map.addEventListener("pointermove", (event) => {
    const at = within(event);
    const before = held.get(event.pointerId);
    if (!before) return onPoint(pointAt(...at), ...at);
    moved += Math.hypot(at[0] - before[0], at[1] - before[1]);
    held.set(event.pointerId, at);
    if (held.size === 1) return pan(before[0] - at[0], at[1] - before[1]);
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
    const gap = (where) => Math.hypot(where[0] - other[0], where[1] - other[1]);
    zoomAt((at[0] + other[0]) / 2, (at[1] + other[1]) / 2, gap(at) / Math.max(gap(before), 1));
  });
  map.addEventListener("pointerup", (event) => {
    if (held.size === 1 && moved < CLICK_PIXELS && pointAt(...within(event)) >= 0) onOpen(pointAt(...within(event)));
  });
  const released = (event) => map.classList.toggle("moving", held.delete(event.pointerId) && held.size > 0);
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, released);
  map.addEventListener("pointerleave", () => onPoint(-1, 0, 0));
  const onWheel = (event) => {
    event.preventDefault();
    zoomAt(...within(event), Math.exp(-event.deltaY / 400));
  };
  map.addEventListener("wheel", onWheel, { passive: false });
  const keys = {
    ArrowLeft: () => pan(-60, 0),
    ArrowRight: () => pan(60, 0),
    ArrowUp: () => pan(0, 60),
    ArrowDown: () => pan(0, -60),
    "+": () => zoomAt(...middle(), 1.4),
    "-": () => zoomAt(...middle(), 1 / 1.4),
    0: () => show(0.5, 0.5, 1),
  };
  map.addEventListener("keydown", (event) => {
    const i = pointAt(...middle(), 40);
    if (event.key === "Enter" && i >= 0) onOpen(i);
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
    onPoint(pointAt(...middle(), 40), ...middle());
  });
}
