// Events selected in the grid: one by one, a range, all shown or all that match.

const SHIFT_SEEN_AT = ["pointerdown", "keydown"];

/** Shows an outcome only once: removes it from the address, which also keys the scroll position. */
export function forgetOutcome() {
  const told = document.querySelector("[data-told]");
  if (!told) return;
  history.replaceState(history.state, "", told.dataset.told);
  const close = told.querySelector("[data-close]");
  close.hidden = false;
  close.addEventListener("click", () => told.closest(".notice").remove());
}

/** Turns the check boxes into a selection, and shows its size and the actions for it. */
export function followSelection() {
  const form = document.querySelector("[data-selection]");
  const grid = document.querySelector("[data-grid]");
  if (!form || !grid) return;
  const part = (name) => form.querySelector(`[data-${name}]`);
  const boxes = () => [...grid.querySelectorAll(".pick input")];
  const ticked = () => boxes().filter((box) => box.checked);
  let last = null; // where a range begins
  let isRange = false;
  /** The server's reply about all that match; null while single events are selected. */
  let all = null;

  const show = () => {
    const chosen = ticked();
    const size = all ? all.size : chosen.length;
    const judgeable = all ? all.judgeable : chosen.filter(isJudgeable).length;
    form.hidden = size === 0;
    part("selected").textContent = inWords(size, judgeable, all);
    part("deletes").textContent = `Delete ${events(size)}…`;
    for (const button of form.querySelectorAll("[data-acts]")) {
      button.disabled = size === 0 || (button.matches("[data-verdict]") && judgeable === 0);
    }
    part("select-matching").hidden = all !== null || !document.querySelector("[data-older], [data-newer-page]");
    part("select-shown").hidden = all !== null;
  };
  const tick = (chosen, isOn = true) => {
    for (const box of chosen) box.checked = isOn;
    show();
  };
  const clear = () => {
    all = null;
    last = null;
    tick(boxes(), false);
  };
  const selectMatching = async () => {
    part("select-matching").disabled = true;
    try {
      const reply = await fetch(form.dataset.matching);
      if (!reply.ok) throw new Error(`${reply.status}`);
      all = await reply.json();
      tick(boxes());
    } catch {
      part("selected").textContent = "The server did not say how many match. Try again.";
    } finally {
      part("select-matching").disabled = false;
    }
  };

  for (const name of ["select-shown", "select-none"]) part(name).hidden = false;
  part("select-shown").addEventListener("click", () => tick(boxes()));
  part("select-matching").addEventListener("click", selectMatching);
  part("select-none").addEventListener("click", clear);
  for (const type of SHIFT_SEEN_AT) {
    document.addEventListener(type, (event) => (isRange = event.shiftKey), true);
  }
  grid.addEventListener("change", ({ target }) => {
    const row = boxes();
    if (isRange && last?.isConnected) {
      const [from, to] = [row.indexOf(last), row.indexOf(target)].sort((a, b) => a - b);
      for (const box of row.slice(from, to + 1)) box.checked = target.checked;
    }
    last = target;
    all = null; // deselecting one leaves those in sight
    show();
  });
  grid.addEventListener("mousedown", (event) => {
    if (event.shiftKey && !form.hidden) event.preventDefault(); // avoids selecting text
  });
  grid.addEventListener("click", (event) => {
    const link = event.target.closest(".tile > a");
    if (!link || !event.shiftKey || form.hidden) return;
    event.preventDefault(); // avoids opening a window
    link.parentElement.querySelector(".pick input").click();
  });
  // Tiles come and go. "All that match" includes older tiles, but none that came later.
  new MutationObserver((changes) => {
    for (const tile of changes.flatMap((change) => [...change.addedNodes])) {
      const box = all && !tile.classList.contains("fresh") && tile.querySelector(".pick input");
      if (box) box.checked = true;
    }
    show();
  }).observe(grid, { childList: true });

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest(".pick input, [data-selection] input");
    if (event.key !== "Enter" || !field) return;
    event.preventDefault(); // the selection stays
    if (field.type !== "checkbox") field.blur();
  });

  form.addEventListener("formdata", ({ formData }) => {
    if (!all) return;
    formData.delete("event");
    for (const [name, value] of Object.entries({ all: "yes", until: all.until, size: all.size })) {
      formData.set(name, value);
    }
  });
  addEventListener("pageshow", show); // the browser keeps check marks when going back
  show();
  form.dataset.ready = "";
}

function isJudgeable(box) {
  return box.closest(".tile").dataset.type !== "operator_feedback";
}

function events(size) {
  return `${size.toLocaleString("en")} ${size === 1 ? "event" : "events"}`;
}

function inWords(size, judgeable, all) {
  const words = !all ? "" : all.isAll ? "All " : "The newest ";
  const rest = judgeable < size ? `, ${judgeable.toLocaleString("en")} to judge` : "";
  return `${words}${events(size)} selected${rest}`;
}
