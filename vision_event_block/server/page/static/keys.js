// Arrow keys: to the events beside this one, and from tile to tile in the grid.

/** Makes the keys work wherever nobody is typing. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable], .scroll")) return;
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
      return;
    }
    const tile = event.target.closest(".tile");
    if (tile) {
      const next = neighbour(tile, event.key);
      if (next) {
        next.querySelector("a").focus();
        event.preventDefault();
      }
      return;
    }
    const link = { ArrowLeft: "[data-newer]", ArrowRight: "[data-older-event]" }[event.key];
    if (link) document.querySelector(link)?.click();
  });
}

function neighbour(tile, key) {
  const tiles = [...tile.parentElement.children];
  const at = tiles.indexOf(tile);
  if (key === "ArrowRight") return tiles[at + 1];
  if (key === "ArrowLeft") return tiles[at - 1];
  const inARow = tiles.filter((one) => one.offsetTop === tiles[0].offsetTop).length;
  if (key === "ArrowDown") return tiles[at + inARow];
  return key === "ArrowUp" ? tiles[at - inARow] : undefined;
}
