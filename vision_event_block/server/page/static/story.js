// The pictures before and after an event: stepped through and played in place of the large one.
import { icon } from "./icons.js";

const LONGEST_GAP_MS = 2000;
const SHORTEST_GAP_MS = 40;

/** Starts the strip, if the page has one; without this it is a row of links. */
export function startStory() {
  const story = document.querySelector("[data-story]");
  const view = document.querySelector("[data-viewer] .view");
  const image = view?.querySelector(".canvas > img");
  if (!story || !image) return;
  const links = [...story.querySelectorAll("[data-picture]")];
  const strip = story.querySelector("[data-story-strip]");
  const status = story.querySelector("[data-story-status]");
  const play = story.querySelector("[data-story-play]");
  const own = { src: image.getAttribute("src"), alt: image.alt };
  const stage = image.closest("[data-stage]");
  const home = links.findIndex((link) => link.hasAttribute("aria-current"));
  let at = home; // -1 while another of the event's pictures is in sight
  let playing = 0; // a new number for each start, 0 while it is paused

  const loaded = (index) => {
    const wanted = new Image();
    wanted.src = links[index].dataset.picture;
    return wanted.decode().catch(() => {}); // a missing one is shown as missing
  };
  const show = (index) => {
    at = index;
    const link = links[at];
    for (const one of links) {
      one.tabIndex = one === link ? 0 : -1;
      if (one === link) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
    // Only the page's own picture has its boxes here; the others have theirs on their own pages.
    const src = at === home ? own.src : link.dataset.picture;
    if (image.getAttribute("src") !== src) image.src = src;
    image.alt = at === home ? own.alt : link.textContent;
    view.classList.toggle("other-moment", at !== home);
    stage.dataset.moment = link.lastElementChild.firstChild.data;
    strip.scrollTo({
      left: link.offsetLeft - (strip.clientWidth - link.offsetWidth) / 2,
      behavior: isCalm() || playing ? "instant" : "smooth",
    });
  };
  const stop = () => {
    if (!playing) return;
    playing = 0;
    face(play, "play", "Play");
    settle();
  };
  /** Sets the address to that of the picture in sight, so that a reload shows it again. */
  const settle = () => {
    history.replaceState(history.state, "", links[at].href);
    status.textContent = links[at].textContent;
  };
  const step = (index) => {
    stop();
    if (!links[index]) return false;
    show(index);
    settle();
    return true;
  };
  const run = async () => {
    const mine = ++run.count;
    playing = mine;
    face(play, "pause", "Pause");
    if (at === links.length - 1) show(0);
    while (playing === mine && at < links.length - 1) {
      const next = links[at + 1];
      const gap_ms = (next.dataset.at - (links[at] ?? next).dataset.at) * 1000;
      const pause_ms = Math.min(Math.max(gap_ms, SHORTEST_GAP_MS), LONGEST_GAP_MS);
      await Promise.all([loaded(at + 1), new Promise((done) => setTimeout(done, pause_ms))]);
      if (playing === mine) show(at + 1);
    }
    if (playing === mine) stop();
  };
  run.count = 0;

  story.querySelector("[data-story-tools]").hidden = false;
  play.addEventListener("click", () => (playing ? stop() : run()));
  story.querySelector("[data-story-back]").addEventListener("click", () => step(at - 1));
  story.querySelector("[data-story-on]").addEventListener("click", () => step(at + 1));
  strip.addEventListener("click", (event) => {
    const index = links.indexOf(event.target.closest("a"));
    if (index < 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    step(index);
  });
  strip.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const index = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: links.length - 1 }[
      event.key
    ];
    if (index === undefined) return;
    event.preventDefault(); // at the end, too: the arrow must not lead to another event
    if (step(index)) links[at].focus({ preventScroll: true });
  });
  if (home >= 0) show(home);
}

function isCalm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function face(button, symbol, words) {
  const label = Object.assign(document.createElement("span"), { textContent: words });
  button.replaceChildren(icon(symbol), label);
  button.title = `${words} (s)`;
}
