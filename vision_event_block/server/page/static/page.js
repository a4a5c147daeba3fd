// The page works without scripts; each of these adds one convenience.
import { startCharts } from "./charts.js";
import { offerCopies } from "./copy.js";
import { followDays } from "./days.js";
import { editChips, localiseFilters, localiseGoTo } from "./filters.js";
import { followGrid } from "./grid.js";
import { listenToKeys } from "./keys.js";
import { watchOverlays } from "./overlays.js";
import { offerDrawn } from "./saving.js";
import { followSelection, forgetOutcome } from "./selection.js";
import { startStory } from "./story.js";
import { listenToSwipes } from "./swipe.js";
import { offerThemes } from "./theme.js";
import { suggestValues } from "./suggestions.js";
import { keepTimes } from "./times.js";
import { startViewer } from "./viewer.js";

forgetOutcome();
keepTimes();
offerCopies();
localiseFilters();
localiseGoTo();
editChips();
suggestValues();
watchOverlays();
startCharts();
startViewer();
startStory();
followDays();
followGrid();
followSelection();
listenToKeys();
listenToSwipes();
offerThemes();
offerDrawn();

// A box that a reader ticked or cleared stays that way.
for (const box of document.querySelectorAll("[data-kept]")) {
  box.checked = (localStorage.getItem(box.dataset.kept) ?? String(box.checked)) === "true";
  box.addEventListener("change", () => localStorage.setItem(box.dataset.kept, box.checked));
}

// On a slow network people press again, but a form is sent once; later they have stopped it.
const SENDING_MS = 10_000;
let sentAt = -Infinity;
addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  if (event.timeStamp - sentAt < SENDING_MS) event.preventDefault();
  else sentAt = event.timeStamp;
});
addEventListener("pageshow", () => (sentAt = -Infinity));

// A menu closes when the reader goes elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
