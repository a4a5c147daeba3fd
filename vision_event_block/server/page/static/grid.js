// The grid of events: older ones when the reader comes to the end, new ones when they arrive.
import { applyOverlays } from "./overlays.js";
import { localiseTimes } from "./times.js";

const POLL_MS = 2000;
const NEAR_TOP_PX = 240;
const NEAR_END = "900px";

/** Follows the grid in both directions. */
export function followGrid() {
  const live = document.querySelector("[data-live]");
  const place = document.querySelector("[data-grid-place]");
  if (place) continueWithOlder(place);
  if (live) followNews(live, place);
}

async function gridAt(address) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", "grid");
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${reply.status}`);
  // The server escapes what clients sent, and nothing in a parsed document runs.
  return new DOMParser().parseFromString(await reply.text(), "text/html");
}

function prepared(tile) {
  const adopted = document.adoptNode(tile);
  applyOverlays(adopted);
  localiseTimes(adopted);
  return adopted;
}

function continueWithOlder(place) {
  const grid = place.querySelector("[data-grid]");
  let isLoading = false;
  const load = async (link) => {
    if (isLoading) return;
    isLoading = true;
    try {
      const older = await gridAt(link.href);
      const known = new Set([...grid.children].map((tile) => tile.dataset.event));
      for (const tile of older.querySelectorAll(".tile")) {
        if (!known.has(tile.dataset.event)) grid.append(prepared(tile));
      }
      const next = older.querySelector("[data-older]");
      if (next) link.href = next.getAttribute("href");
      else link.closest("p").remove();
    } catch {
      observer.disconnect(); // the link is still there for the reader
    }
    isLoading = false;
    // An end that stays in sight is not reported again by itself.
    if (link.isConnected) {
      observer.unobserve(link);
      observer.observe(link);
    }
  };
  const observer = new IntersectionObserver(
    ([entry]) => entry.isIntersecting && load(entry.target),
    { rootMargin: NEAR_END },
  );
  const link = place.querySelector("[data-older]");
  if (!link) return;
  observer.observe(link);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    load(link);
  });
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
      if (String(news.latest) === latest) return;
      if (place) await take(place);
      else location.reload(); // from "no events yet" to the first one
      latest = String(news.latest);
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
  const now = await gridAt(location.href);
  const shown = new Map([...grid.children].map((tile) => [tile.dataset.event, tile]));
  const fresh = [];
  for (const tile of now.querySelectorAll(".tile")) {
    const old = shown.get(tile.dataset.event);
    if (!old) fresh.push(tile);
    else if (old.dataset.feedback !== tile.dataset.feedback) replace(old, prepared(tile));
  }
  removeGone(shown, [...now.querySelectorAll(".tile")]);
  const count = now.querySelector("[data-count]");
  if (count) document.querySelector("[data-count]").textContent = count.textContent;
  if (!fresh.length) return;
  const pill = document.querySelector("[data-news]");
  const insert = () => {
    pill.hidden = true;
    for (const tile of fresh) tile.classList.add("fresh");
    // Those that slipped in between older ones stay in the server's order.
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

function replace(old, tile) {
  const [was, box] = [old, tile].map((one) => one.querySelector(".pick input"));
  if (was && box) box.checked = was.checked;
  old.replaceWith(tile);
}

/** Takes away what was deleted: it would be among the newest, and is not. */
function removeGone(shown, newest) {
  const ids = new Set(newest.map((tile) => tile.dataset.event));
  const oldest = newest.length ? moment(newest[newest.length - 1]) : "";
  for (const [id, tile] of shown) if (!ids.has(id) && moment(tile) > oldest) tile.remove();
}

function moment(tile) {
  return tile.querySelector("time").dateTime;
}

function insertInOrder(grid, tile) {
  const older = [...grid.children].find((one) => moment(one) <= moment(tile));
  if (older) older.before(tile);
  else grid.append(tile);
}
