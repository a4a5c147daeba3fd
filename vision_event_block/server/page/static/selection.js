// Events selected in the grid: how many, all of them, and what can be done with them.

/** Offers the deletion only where something is selected, and says of how many. */
export function followSelection() {
  const form = document.querySelector("[data-selection]");
  if (!form) return;
  const words = form.querySelector("[data-selected]");
  const all = form.querySelector("[data-select-all]");
  const boxes = () => [...document.querySelectorAll("[data-grid] .pick input")];
  const show = () => {
    const count = boxes().filter((box) => box.checked).length;
    form.hidden = count === 0;
    words.textContent = count === 1 ? "Delete 1 event…" : `Delete ${count} events…`;
  };
  all.hidden = false;
  all.addEventListener("click", () => {
    for (const box of boxes()) box.checked = true;
    show();
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest(".pick")) show();
  });
  addEventListener("pageshow", show); // the browser's way back keeps check marks
  show();
}
