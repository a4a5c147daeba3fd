// Newer events than those that the grid begins with, for who went to a time in the past.
import { gridAt, prepared } from "./grid.js";

/** Puts a page of newer events above the grid, and leaves the reader where she is. */
export function followUpwards() {
  const link = document.querySelector("[data-newer-page]");
  const grid = document.querySelector("[data-grid]");
  link?.addEventListener("click", async (event) => {
    event.preventDefault();
    if (link.ariaBusy === "true") return;
    link.ariaBusy = "true";
    try {
      await prepend(grid, link, await gridAt(link.href));
    } catch {
      location.assign(link.href);
    }
    link.ariaBusy = "false";
  });
}

async function prepend(grid, link, part) {
  const known = new Set([...grid.querySelectorAll(".tile")].map((tile) => tile.dataset.event));
  const first = grid.querySelector(".tile");
  const top = first.getBoundingClientRect().top;
  const newer = [...part.querySelectorAll(".tile")].filter((tile) => !known.has(tile.dataset.event));
  grid.prepend(...newer.map(prepared));
  await null; // until the days stand above them
  scrollBy(0, first.getBoundingClientRect().top - top);
  // The address says where the grid begins now, for the way back and for who gets it sent.
  const here = new URL(location);
  const newest = Date.parse(grid.querySelector(".tile time").dateTime);
  here.searchParams.set("at", new Date(newest + 1).toISOString());
  history.replaceState(history.state, "", here);
  const next = part.querySelector("[data-newer-page]");
  if (next) link.href = next.getAttribute("href");
  else {
    link.nextElementSibling.focus({ preventScroll: true });
    link.remove();
  }
}
