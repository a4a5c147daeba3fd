// The choice of colours, without a reload: the server uses it for the next page.

/** Changes the colours immediately. */
export function offerThemes() {
  const form = document.querySelector("[data-themes]");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = event.submitter;
    document.documentElement.dataset.theme = chosen.value;
    document.querySelector("link[data-dark]").media = chosen.dataset.media;
    for (const each of form.querySelectorAll("button")) {
      each.setAttribute("aria-pressed", String(each === chosen));
    }
    fetch(form.action, {
      method: "POST",
      body: new URLSearchParams({ theme: chosen.value }),
      redirect: "manual",
      keepalive: true, // the reader may leave right away
    }).catch(() => {}); // then it applies to this page only
  });
}
