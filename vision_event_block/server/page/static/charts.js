// Charts: one Tab stop each, with arrow keys between bars; they update as events come in. In the
// bar of hours, a drag, or Shift with the arrow keys, selects a period.
import { localiseTimes } from "./times.js";

const REFRESH_MS = 5000;

/** Adds keyboard access and updates to the charts of the page. */
export function startCharts() {
  prepare(document);
  const tools = document.querySelector("[data-chart-tools]");
  // Arrow keys pass through other choices on the way, so keyboard users have the button.
  let isByKey = false;
  tools?.addEventListener("pointerdown", () => (isByKey = false));
  tools?.addEventListener("keydown", () => (isByKey = true));
  tools?.addEventListener("change", () => isByKey || tools.requestSubmit());
  tools?.addEventListener("formdata", ({ formData }) => {
    for (const name of ["split", "beside"]) if (!formData.get(name)) formData.delete(name);
  });
}

/** Fetches the current charts if they lack the latest change; at most every few seconds. */
export async function chartsFollow(latest, atFirst) {
  for (const [selector, part] of [["[data-charts]", "charts"], ["[data-hours]", "hours"]]) {
    const place = document.querySelector(selector);
    const isDue = place && Date.now() - (place.lastMs ?? 0) > REFRESH_MS;
    // A chart with the focus is updated only once the focus leaves it.
    if (isDue && (place.dataset.latest ?? atFirst) !== latest && !isInUse(place)) {
      await replace(place, selector, part, latest);
    }
  }
}

function isInUse(place) {
  return place.contains(document.activeElement) || place.querySelector(".chosen:not([hidden])");
}

/** A part of the page at an address, as a document. */
export async function partAt(address, part) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", part);
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${reply.status}`);
  // The server escapes what clients sent, and a parsed document runs no scripts.
  return new DOMParser().parseFromString(await reply.text(), "text/html");
}

async function replace(place, selector, part, latest) {
  const fresh = (await partAt(location.href, part)).querySelector(selector);
  if (isInUse(place)) return;
  if (!fresh) {
    place.remove(); // there is nothing left to count
    return;
  }
  fresh.lastMs = Date.now();
  fresh.dataset.latest = latest;
  place.replaceWith(document.adoptNode(fresh));
  localiseTimes(fresh);
  prepare(fresh);
}

function prepare(root) {
  for (const chart of root.querySelectorAll("[data-bars]")) {
    walkWithArrows(chart);
    const place = chart.closest("[data-hours]");
    if (place) choosePeriods(chart, place.dataset.chosenAt);
  }
}

/** Left and right go to the next period, up and down to another bar of the same one. */
function walkWithArrows(chart) {
  const bars = [...chart.querySelectorAll("a[data-period]")];
  const focusable = (bar) => {
    for (const one of bars) one.setAttribute("tabindex", one === bar ? 0 : -1);
  };
  if (bars.length) focusable(bars.at(-1));
  chart.addEventListener("focusin", ({ target }) => bars.includes(target) && focusable(target));
  chart.addEventListener("keydown", (event) => {
    const bar = event.target.closest("a[data-period]");
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!bar || !step || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const period = Number(bar.dataset.period);
    const isSideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    const others = bars.filter((one) => {
      const other = Number(one.dataset.period);
      return isSideways ? (other - period) * step > 0 : other === period;
    });
    others.sort((one, other) => (one.dataset.period - other.dataset.period) * step);
    const next = isSideways ? others[0] : others[others.indexOf(bar) + step];
    next?.focus();
  });
}

function choosePeriods(chart, grid) {
  const count = Number(chart.dataset.periods);
  const chosen = chart.querySelector(".chosen");
  const edges = JSON.parse(chart.dataset.edges);
  let from = null;
  let to = null;

  const show = () => {
    chosen.toggleAttribute("hidden", from === null);
    if (from === null) return;
    chosen.setAttribute("x", `${(100 * Math.min(from, to)) / count}%`);
    chosen.setAttribute("width", `${(100 * (Math.abs(to - from) + 1)) / count}%`);
  };
  const forget = () => {
    from = to = null;
    show();
  };
  const go = () => {
    const url = new URL(grid, location.href);
    url.searchParams.set("start", edges[Math.min(from, to)]);
    url.searchParams.set("end", lastBefore(edges[Math.max(from, to) + 1]));
    location.href = url;
    addEventListener("pageshow", forget, { once: true }); // after coming back, nothing is chosen
  };
  const at = (event) => {
    const box = chart.getBoundingClientRect();
    return Math.max(0, Math.min(count - 1, Math.floor((count * (event.clientX - box.left)) / box.width)));
  };
  let startX = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.button === 0) startX = event.clientX;
  });
  chart.addEventListener("dragstart", (event) => event.preventDefault()); // dragging a link
  chart.addEventListener("pointermove", (event) => {
    if (!event.buttons) startX = null; // released outside
    if (startX === null || (from === null && Math.abs(event.clientX - startX) < 6)) return;
    if (from === null) {
      chart.setPointerCapture(event.pointerId);
      from = at({ clientX: startX });
    }
    to = at(event);
    show();
  });
  chart.addEventListener("pointerup", () => {
    startX = null;
    if (from !== null) go();
  });
  chart.addEventListener("pointercancel", () => {
    startX = null;
    forget();
  });
  // After a drag the browser also reports a click.
  chart.addEventListener("click", (event) => from !== null && event.preventDefault());
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const bar = event.target.closest("a[data-period]");
    if (event.key === "Escape") forget();
    if (event.key === "Enter" && from !== null) {
      event.preventDefault();
      go();
    }
    if (!step || !event.shiftKey || !bar) return;
    event.preventDefault();
    event.stopPropagation();
    from ??= Number(bar.dataset.period);
    to = Math.max(0, Math.min(count - 1, (to ?? from) + step));
    show();
  });
}

/** A period includes its end, so it ends a microsecond before the next one. */
function lastBefore(edge) {
  const moment = new Date(Date.parse(edge) - 1);
  return moment.toISOString().replace("Z", "999Z");
}
