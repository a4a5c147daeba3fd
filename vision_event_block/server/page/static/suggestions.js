// Suggestions for the filter fields, from the values that the server has.

const PAUSE_MS = 150;

/** Offers values while somebody types into a field that has them. */
export function suggestValues() {
  const form = document.querySelector("form[data-values]");
  if (!form) return;
  let asked = new AbortController();
  let timer;
  const ask = async (input) => {
    asked.abort();
    asked = new AbortController();
    const address = new URL(form.dataset.values, location.href);
    const key = input.closest("[data-row]")?.querySelector("[name=meta_key]").value.trim();
    if (key) address.searchParams.set("key", key);
    else if (input.dataset.suggested) address.searchParams.set("field", input.dataset.suggested);
    else return;
    address.searchParams.set("start", input.value);
    try {
      const reply = await fetch(address, { signal: asked.signal });
      if (reply.ok) offer(input, await reply.json());
    } catch {
      // The reader can type it anyway.
    }
  };
  form.addEventListener("focusin", ({ target }) => {
    if (!target.matches("[data-suggested]")) return;
    target.list.replaceChildren();
    clearTimeout(timer); // the field that was left would break this question off
    ask(target);
  });
  form.addEventListener("input", ({ target }) => {
    clearTimeout(timer);
    if (target.matches("[data-suggested]")) timer = setTimeout(ask, PAUSE_MS, target);
  });
}

/** Without an answer the old suggestions stay: the browser searches them for the text. */
function offer(input, values) {
  if (!values.length) return;
  input.list.replaceChildren(
    ...values.map((value) => Object.assign(document.createElement("option"), { value })),
  );
}
