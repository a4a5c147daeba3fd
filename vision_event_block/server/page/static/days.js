// The day headings above the tiles of the grid, kept right as tiles come and go.
import { dayOf, localiseTimes } from "./times.js";

/** Keeps one heading above the first tile of each day. */
export function followDays() {
  const grid = document.querySelector("[data-grid]");
  if (!grid) return;
  markDays(grid);
  new MutationObserver(() => markDays(grid)).observe(grid, { childList: true });
}

function markDays(grid) {
  const wanted = new Set();
  let day = "";
  for (const tile of grid.querySelectorAll(".tile")) {
    const { dateTime } = tile.querySelector("time");
    const its = dayOf(new Date(dateTime));
    if (its === day) continue;
    day = its;
    let heading = tile.previousElementSibling;
    if (!heading?.matches(".day")) {
      heading = newHeading(dateTime);
      tile.before(heading);
    }
    const time = heading.querySelector("time");
    if (dayOf(new Date(time.dateTime)) !== day) time.dateTime = dateTime;
    localiseTimes(heading);
    wanted.add(heading);
  }
  for (const heading of grid.querySelectorAll(".day")) if (!wanted.has(heading)) heading.remove();
}

function newHeading(dateTime) {
  const heading = document.createElement("li");
  heading.className = "day";
  const time = document.createElement("time");
  time.dataset.as = "day";
  time.dateTime = dateTime;
  heading.append(document.createElement("h2"));
  heading.firstChild.append(time);
  return heading;
}
