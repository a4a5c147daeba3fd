// Switches for overlays: all in one place, or those of one class.

const KEPT = "hidden classes";

/** Kept from event to event, and after a reload. */
const hidden = new Set(JSON.parse(sessionStorage.getItem(KEPT) ?? "[]"));

/** Hides in `root` what the reader has hidden elsewhere. */
export function applyOverlays(root = document) {
  for (const shape of root.querySelectorAll(".overlay [data-class]")) {
    shape.toggleAttribute("hidden", hidden.has(shape.dataset.class));
  }
}

/** Makes the switches work. */
export function watchOverlays() {
  for (const toggle of document.querySelectorAll(".class-toggle")) {
    toggle.setAttribute("aria-pressed", String(!hidden.has(toggle.dataset.class)));
  }
  applyOverlays();
  document.addEventListener("click", ({ target }) => {
    const toggle = target.closest(".class-toggle, [data-overlays]");
    if (!toggle) return;
    const isOn = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(isOn));
    if (toggle.matches(".class-toggle")) {
      if (isOn) hidden.delete(toggle.dataset.class);
      else hidden.add(toggle.dataset.class);
      sessionStorage.setItem(KEPT, JSON.stringify([...hidden]));
      applyOverlays();
    } else {
      const place = toggle.closest(".view") ?? document.querySelector("[data-grid-place]");
      place.classList.toggle("no-overlays", !isOn);
    }
  });
}
