// Times in the reader's zone; the server writes UTC, which stays in the title.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const axis = {
  day: new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }),
  hour: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
};
const REFRESH_MS = 15_000;

/** Puts the times below `root` into the reader's zone and language. */
export function localiseTimes(root = document) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    if ("relative" in time.dataset) {
      time.textContent = ago(moment, Date.now());
      time.title = `${full.format(moment)} · ${utc(time)}`;
    } else {
      time.title = utc(time);
      time.textContent = full.format(moment);
    }
  }
  for (const label of root.querySelectorAll("text[data-datetime]")) {
    label.textContent = axis[label.dataset.style].format(new Date(label.dataset.datetime));
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const place of root.querySelectorAll("p .zone")) place.textContent = zone;
}

/** Localises all times, and keeps "3 min ago" true. */
export function keepTimes() {
  localiseTimes();
  setInterval(() => localiseTimes(), REFRESH_MS);
}

function utc(time) {
  return `${time.dateTime.replace("T", " ").replace(/\.\d+Z$|Z$/, "")} UTC`;
}

function ago(moment, now) {
  const seconds = (now - moment) / 1000;
  if (seconds < -60) return "in the future";
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86400);
  return days === 1 ? "yesterday" : `${days} days ago`;
}
