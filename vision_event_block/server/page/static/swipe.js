// A swipe over an event leads to the next or the previous one.

const LEAST_PX = 60;
const LONGEST_MS = 900;
/** At the edges of the screen a swipe is the browser's own gesture for going back. */
const EDGE_PX = 24;

/** Makes the event's page react to swipes. */
export function listenToSwipes() {
  const pager = document.querySelector("[data-pager]");
  if (!pager) return;
  const page = document.querySelector("main");
  let start = null; // where the swiping finger started
  page.addEventListener(
    "touchstart",
    (event) => {
      const [finger] = event.touches;
      const isFree = event.touches.length === 1 && !isTaken(event.target, page);
      const isInside = finger.clientX > EDGE_PX && finger.clientX < innerWidth - EDGE_PX;
      start = isFree && isInside ? { x: finger.clientX, y: finger.clientY, at: event.timeStamp } : null;
    },
    { passive: true },
  );
  page.addEventListener("touchcancel", () => (start = null));
  page.addEventListener("touchend", (event) => {
    if (!start) return;
    const [finger] = event.changedTouches;
    const [x, y] = [finger.clientX - start.x, finger.clientY - start.y];
    const isSwipe = Math.abs(x) > LEAST_PX && Math.abs(x) > 2 * Math.abs(y);
    if (isSwipe && event.timeStamp - start.at < LONGEST_MS) {
      document.querySelector(x < 0 ? "[data-older-event]" : "[data-newer]")?.click();
    }
    start = null;
  });
}

/** Whether a finger has another meaning there: to type, scroll sideways or move a zoomed picture. */
function isTaken(target, page) {
  if (target.closest("input, textarea, select, .zoomed")) return true;
  for (let one = target; one && one !== page; one = one.parentElement) {
    const scrolls = one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX;
    if (scrolls === "auto" || scrolls === "scroll") return true;
  }
  return false;
}
