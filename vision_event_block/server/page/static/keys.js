// Keys: from event to event and from tile to tile, verdicts, the story, and a list of them all.

/** What each key clicks on an event's page. */
const BUTTONS = {
  c: "[data-verdict=correct]",
  i: "[data-verdict=incorrect]",
  u: "[data-verdict=inconclusive]",
  j: "[data-older-event]",
  k: "[data-newer]",
  ArrowRight: "[data-older-event]",
  ArrowLeft: "[data-newer]",
  a: "[data-select-shown]",
  A: "[data-select-matching]",
  p: "[data-pin]",
  s: "[data-story-play]",
  ",": "[data-story-back]",
  ".": "[data-story-on]",
  "?": "[data-keys-button]",
};

/** Makes the keys work unless somebody is typing. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape" && closeMenus()) return;
    const isScrolled = event.key.startsWith("Arrow") && event.target.closest(".scroll");
    if (isScrolled || event.target.closest("textarea, select, dialog, [contenteditable]")) return;
    if (event.target.closest("input:not([type=checkbox])")) return;
    if (event.key === "Escape") {
      document.querySelector("[data-select-none]")?.click();
      return;
    }
    const grid = document.querySelector("[data-grid]");
    const tile = event.target.closest(".tile");
    const next = tile ? neighbour(tile, event.key) : event.key === "j" && grid?.querySelector(".tile");
    if (next) {
      next.querySelector("a").focus();
      event.preventDefault();
    }
    if (tile && event.key.startsWith("Arrow")) return;
    if (tile && event.key.toLowerCase() === "x") tile.querySelector(".pick input")?.click();
    const button = BUTTONS[event.key] && document.querySelector(BUTTONS[event.key]);
    if (!button) return;
    if (event.repeat && button.matches("[data-verdict], [data-pin]")) return; // a held key counts once
    event.preventDefault();
    button.click();
  });
  offerList();
}

/** Closes open menus and says whether there were any. The focus returns to the button of its menu. */
function closeMenus() {
  const menus = document.querySelectorAll("details.menu[open]");
  for (const menu of menus) {
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
  return menus.length > 0;
}

/** Adds the list of keys, shown on request. */
function offerList() {
  const list = document.querySelector("[data-keys]");
  const button = document.querySelector("[data-keys-button]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => list.showModal());
  list.addEventListener("click", ({ target }) => target === list && list.close());
}

function neighbour(tile, key) {
  const tiles = [...tile.parentElement.querySelectorAll(".tile")];
  const at = tiles.indexOf(tile);
  if (key === "ArrowRight" || key === "j") return tiles[at + 1];
  if (key === "ArrowLeft" || key === "k") return tiles[at - 1];
  if (key === "ArrowDown") return inRowOf(tiles.find((one) => one.offsetTop > tile.offsetTop));
  if (key === "ArrowUp") return inRowOf(tiles.findLast((one) => one.offsetTop < tile.offsetTop));
  return undefined;

  // The last row of a day may be shorter than the others.
  function inRowOf(first) {
    const away = (one) => Math.abs(one.offsetLeft - tile.offsetLeft);
    const row = tiles.filter((one) => one.offsetTop === first?.offsetTop);
    return row.reduce((nearest, one) => (nearest && away(nearest) <= away(one) ? nearest : one), undefined);
  }
}
