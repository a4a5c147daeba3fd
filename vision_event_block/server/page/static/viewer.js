// Zoom and pan of an event's pictures. Input and output move together, for comparison.

const KEPT = "zoom";
const MAX_SCALE = 24;
const STEP = 1.5;
const PAN_PX = 60;
const LABEL_PX = 13;
const STROKE_PX = 2.5;

/** Starts the viewer, if the page has one. */
export function startViewer() {
  const viewer = document.querySelector("[data-viewer]");
  if (!viewer) return;
  const stages = [...viewer.querySelectorAll("[data-stage]")];
  // x and y are shares of the stage's size.
  const state = { scale: 1, x: 0, y: 0, ...keptZoom() };

  const draw = () => {
    const least = 1 - state.scale;
    state.x = Math.min(0, Math.max(least, state.x));
    state.y = Math.min(0, Math.max(least, state.y));
    sessionStorage.setItem(KEPT, JSON.stringify(state));
    for (const stage of stages) {
      const canvas = stage.firstElementChild;
      const { clientWidth, clientHeight } = stage;
      const move = `translate(${state.x * clientWidth}px, ${state.y * clientHeight}px)`;
      canvas.style.transform = `${move} scale(${state.scale})`;
      stage.classList.toggle("zoomed", state.scale > 1);
      keepReadable(canvas, state.scale);
    }
    const text = viewer.querySelector("[data-zoom-text]");
    if (text) text.textContent = `${Math.round(state.scale * 100)} %`;
  };

  /** Zooms around the point of the stage at these shares of its size. */
  const zoom = (factor, atX = 0.5, atY = 0.5) => {
    const scale = Math.min(MAX_SCALE, Math.max(1, state.scale * factor));
    state.x = atX - ((atX - state.x) * scale) / state.scale;
    state.y = atY - ((atY - state.y) * scale) / state.scale;
    state.scale = scale;
    draw();
  };
  const reset = () => {
    Object.assign(state, { scale: 1, x: 0, y: 0 });
    draw();
  };

  const buttons = viewer.querySelector("[data-zoom]");
  if (buttons) {
    buttons.hidden = false;
    for (const button of buttons.querySelectorAll("[data-zoom-by]")) {
      button.addEventListener("click", () => zoom(Number(button.dataset.zoomBy)));
    }
    buttons.querySelector("[data-zoom-reset]").addEventListener("click", reset);
  }
  for (const stage of stages) {
    stage.addEventListener("wheel", (event) => onWheel(event, stage, zoom), { passive: false });
    stage.addEventListener("dblclick", (event) => zoom(2, ...shareOf(stage, event)));
    stage.addEventListener("keydown", (event) => onKey(event, stage, state, { zoom, reset, draw }));
    followPointers(stage, state, { zoom, draw });
    new ResizeObserver(draw).observe(stage);
  }
  draw();
}

/** The zoom of the previous event, after paging or a reload; otherwise the whole picture. */
function keptZoom() {
  const [{ type }] = performance.getEntriesByType("navigation");
  const isPaging = new URL(document.referrer || "x:").pathname.startsWith("/events/");
  return type === "reload" || isPaging ? JSON.parse(sessionStorage.getItem(KEPT) ?? "{}") : {};
}

/** Labels and lines keep their size on the screen, whatever the picture's size. */
function keepReadable(canvas, scale) {
  const svg = canvas.querySelector(".overlay");
  const { width, height } = svg.viewBox.baseVal;
  const pixels = Math.min(canvas.clientWidth / width, canvas.clientHeight / height) * scale;
  svg.style.fontSize = `${LABEL_PX / pixels}px`;
  svg.style.setProperty("--stroke", `${STROKE_PX / scale}px`);
}

function shareOf(stage, { clientX, clientY }) {
  const box = stage.getBoundingClientRect();
  return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
}

/** The wheel scrolls the page as usual, unless the picture has the focus or Ctrl or Command is held. */
function onWheel(event, stage, zoom) {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== stage) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), ...shareOf(stage, event));
}

function onKey(event, stage, state, { zoom, reset, draw }) {
  const pan = {
    ArrowLeft: [1, 0],
    ArrowRight: [-1, 0],
    ArrowUp: [0, 1],
    ArrowDown: [0, -1],
  }[event.key];
  if (event.key === "+" || event.key === "=") zoom(STEP);
  else if (event.key === "-") zoom(1 / STEP);
  else if (event.key === "0") reset();
  else if (pan && state.scale > 1) {
    state.x += (pan[0] * PAN_PX) / stage.clientWidth;
    state.y += (pan[1] * PAN_PX) / stage.clientHeight;
    draw();
  } else return;
  event.preventDefault();
}

/** One pointer moves the picture, two pinch it. */
function followPointers(stage, state, { zoom, draw }) {
  const pointers = new Map();
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  const middle = () => {
    const all = [...pointers.values()];
    const sum = (key) => all.reduce((total, one) => total + one[key], 0) / all.length;
    return { clientX: sum("clientX"), clientY: sum("clientY") };
  };
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    if (state.scale > 1 || pointers.size > 1) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const [before, gap] = [middle(), pointers.size > 1 ? spread() : 0];
    pointers.set(event.pointerId, event);
    const after = middle();
    if (pointers.size > 1) zoom(spread() / Math.max(gap, 1), ...shareOf(stage, after));
    else if (state.scale === 1) return;
    stage.classList.add("moving");
    state.x += (after.clientX - before.clientX) / stage.clientWidth;
    state.y += (after.clientY - before.clientY) / stage.clientHeight;
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      stage.classList.remove("moving");
    });
  }
}
