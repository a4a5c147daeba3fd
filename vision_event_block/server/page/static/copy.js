// A button next to every line that is meant to be copied.
import { icon } from "./icons.js";

const DONE_MS = 1500;

/** Adds the buttons, where the browser allows a page to copy. */
export function offerCopies() {
  if (!navigator.clipboard) return; // only with HTTPS or on loopback
  for (const line of document.querySelectorAll("[data-copy]")) {
    const holder = document.createElement("span");
    holder.className = "copied";
    line.replaceWith(holder);
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", title: "Copy" });
    button.setAttribute("aria-label", `Copy ${line.textContent}`);
    button.append(icon("copy"));
    holder.append(line, button);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(line.textContent);
      button.replaceChildren(icon("correct"));
      button.classList.add("done");
      setTimeout(() => {
        button.replaceChildren(icon("copy"));
        button.classList.remove("done");
      }, DONE_MS);
    });
  }
}
