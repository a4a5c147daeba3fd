// The grid of events: older ones when the reader reaches the end, new ones when they arrive.
import { chartsFollow, partAt } from "./charts.js";
import { applyOverlays } from "./overlays.js";
import { localiseTimes } from "./times.js";

const POLL_MS = 2000;
const NEAR_TOP_PX = 240;
const NEAR_END = "900px";

/** Extends the grid at both ends and keeps it up to date. */
export function followGrid() {
  const live = document.querySelector("[data-live]");
  const place = document.querySelector("[data-grid-place]");
  if (place) continueWithOlder(place);
  if (live) followNews(live, place);
  followUpwards();
}

/** The grid of another address, as a document. */
function gridAt(address, count = 0) {
  const url = new URL(address, location.href);
  if (count) url.searchParams.set("shown", count);
  return partAt(url, "grid");
}

/** A tile from another document, prepared for this one. */
function prepared(tile) {
  const adopted = document.adoptNode(tile);
  applyOverlays(adopted);
  localiseTimes(adopted);
  return adopted;
}

function continueWithOlder(place) {
  const grid = place.querySelector("[data-grid]");
  const link = place.querySelector("[data-older]");
  let isLoading = false;
  const append = (part) => {
    const known = new Set(tilesOf(grid).map((tile) => tile.dataset.event));
    for (const tile of part.querySelectorAll(".tile")) {
      if (!known.has(tile.dataset.event)) grid.append(prepared(tile));
    }
    const next = part.querySelector("[data-older]");
    if (next) link.href = next.getAttribute("href");
    else link.closest("p").remove();
  };
  const load = async () => {
    if (isLoading) return;
    isLoading = true;
    try {
      append(await gridAt(link.href));
    } catch {
      observer.disconnect(); // the link is still there for the reader
      return;
    } finally {
      isLoading = false;
    }
    // The observer does not report an end that stays in sight again.
    if (link.isConnected) {
      observer.unobserve(link);
      observer.observe(link);
    }
  };
  // Of several reports that arrive together, the last one is current.
  const observer = new IntersectionObserver((all) => all.at(-1).isIntersecting && load(), {
    rootMargin: NEAR_END,
  });
  keepPlace(grid, async (count) => {
    isLoading = true;
    try {
      if (link) append(await gridAt(location.href, count));
      while (link?.isConnected && tilesOf(grid).length < count) {
        append(await gridAt(link.href, count));
      }
    } catch {
      // Fewer tiles are shown, with a link to the rest.
    } finally {
      isLoading = false;
    }
  }).finally(() => link?.isConnected && observer.observe(link));
  link?.addEventListener("click", (event) => {
    event.preventDefault();
    load();
  });
}

/** A reader who comes back from an event finds the same tiles at the same place. */
async function keepPlace(grid, showAtLeast) {
  const key = () => `grid ${location.pathname}${location.search}`;
  const kept = JSON.parse(sessionStorage.getItem(key()) ?? "null");
  addEventListener("pagehide", () => {
    const tiles = tilesOf(grid);
    const first = tiles.find((tile) => tile.getBoundingClientRect().bottom > 0);
    const focused = document.activeElement?.closest(".tile");
    const place = {
      count: tiles.length,
      event: first?.dataset.event,
      top: first?.getBoundingClientRect().top,
      focused: focused?.dataset.event,
    };
    sessionStorage.setItem(key(), JSON.stringify(place));
  });
  const [{ type }] = performance.getEntriesByType("navigation");
  const cameFrom = new URL(document.referrer || "x:").pathname;
  const isTold = document.querySelector("[data-told]"); // an action on its tiles was reported
  const isBack = type !== "navigate" || cameFrom.startsWith("/events/") || isTold;
  if (!kept || !isBack || location.hash) return;
  const tileOf = (id) => tilesOf(grid).find((tile) => tile.dataset.event === id);
  history.scrollRestoration = "manual";
  if (kept.count > tilesOf(grid).length) await showAtLeast(kept.count);
  const first = tileOf(kept.event);
  if (first) scrollBy(0, first.getBoundingClientRect().top - kept.top);
  tileOf(kept.focused)?.querySelector("a").focus({ preventScroll: true });
}

function followNews(live, place) {
  const words = live.querySelector("[data-live-text]");
  let latest = live.dataset.latest;

  const poll = async () => {
    if (document.visibilityState !== "visible") return;
    try {
      const reply = await fetch(live.dataset.live);
      if (!reply.ok) throw new Error(`${reply.status}`);
      const news = await reply.json();
      live.classList.remove("lost");
      words.textContent = "Live";
      const now = String(news.latest);
      if (now !== latest) {
        if (place) await take(place);
        else if (!document.querySelector("[data-charts]")) location.reload(); // from "no events yet" to the first one
        latest = now;
      }
      await chartsFollow(now, live.dataset.latest);
    } catch {
      live.classList.add("lost");
      words.textContent = "No connection";
    }
  };
  const repeat = async () => {
    await poll();
    setTimeout(repeat, POLL_MS);
  };
  setTimeout(repeat, POLL_MS);
  document.addEventListener("visibilitychange", poll);
}

async function take(place) {
  const grid = place.querySelector("[data-grid]");
  const now = await gridAt(location.href, tilesOf(grid).length);
  const shown = new Map(tilesOf(grid).map((tile) => [tile.dataset.event, tile]));
  const newest = [...now.querySelectorAll(".tile")];
  const fresh = newest.filter((tile) => !shown.has(tile.dataset.event));
  for (const tile of newest) {
    const old = shown.get(tile.dataset.event);
    if (old && old.dataset.version !== tile.dataset.version) replace(grid, old, prepared(tile));
  }
  removeGone(shown, newest, !now.querySelector("[data-older]"));
  const count = now.querySelector("[data-count]");
  if (count) document.querySelector("[data-count]").textContent = count.textContent;
  const pill = document.querySelector("[data-news]");
  pill.hidden = true;
  if (!fresh.length) return;
  const insert = () => {
    pill.hidden = true;
    for (const tile of fresh) tile.classList.add("fresh");
    // Tiles that belong between older ones keep the server's order.
    for (const tile of fresh.reverse()) insertInOrder(grid, prepared(tile));
  };
  if (scrollY < NEAR_TOP_PX) {
    insert();
    return;
  }
  pill.hidden = false;
  pill.querySelector("span").textContent =
    fresh.length === 1 ? "1 new event" : `${fresh.length} new events`;
  pill.onclick = () => {
    insert();
    scrollTo({ top: 0, behavior: "smooth" });
  };
}

/** Replaces an event's tile with a newer version, so that an object that stays keeps one tile. */
function replace(grid, old, tile) {
  const [was, box] = [old, tile].map((one) => one.querySelector(".pick input"));
  if (was && box) box.checked = was.checked;
  const [before, after] = [old, tile].map((one) => one.querySelector("img"));
  if (before && after && before.getAttribute("src") === after.getAttribute("src")) {
    before.alt = after.alt;
    after.replaceWith(before); // avoids flicker
  }
  const focused = old.contains(document.activeElement) && document.activeElement;
  if (moment(old) === moment(tile)) old.replaceWith(tile);
  else {
    old.remove();
    insertInOrder(grid, tile);
  }
  if (focused) tile.querySelector(focused.matches("input") ? "input" : "a")?.focus({ preventScroll: true });
}

/** Removes tiles deleted or no longer matching: those that should be among the newest, but are not. */
function removeGone(shown, newest, isAll) {
  const ids = new Set(newest.map((tile) => tile.dataset.event));
  const oldest = isAll ? "" : moment(newest[newest.length - 1]);
  for (const [id, tile] of shown) if (!ids.has(id) && moment(tile) > oldest) tile.remove();
}

/** The tiles, without the headings of the days. */
function tilesOf(grid) {
  return [...grid.querySelectorAll(".tile")];
}

function moment(tile) {
  return tile.querySelector("time").dateTime;
}

function insertInOrder(grid, tile) {
  const older = tilesOf(grid).find((one) => moment(one) <= moment(tile));
  if (older) older.before(tile);
  else grid.append(tile);
}

/** Puts a page of newer events above a grid that begins in the past, without scrolling it. */
function followUpwards() {
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
  const known = new Set(tilesOf(grid).map((tile) => tile.dataset.event));
  const first = grid.querySelector(".tile");
  const top = first.getBoundingClientRect().top;
  const newer = [...part.querySelectorAll(".tile")].filter((tile) => !known.has(tile.dataset.event));
  grid.prepend(...newer.map(prepared));
  await null; // until the headings of the days are in place
  scrollBy(0, first.getBoundingClientRect().top - top);
  // The address names where the grid now begins, for going back and for sharing.
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
