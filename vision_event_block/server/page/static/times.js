// Times in the zone that the reader chose: the browser's own, unless another one was picked.

const COOKIE_SECONDS = 365 * 86_400;
const REFRESH_MS = 15_000;
const page = document.documentElement.dataset;
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The zone of all times on the page. */
export const zone = page.zoneChoice === "local" ? own : page.zone;

const formats = {
  full: format({ dateStyle: "medium", timeStyle: "medium" }),
  clock: format({ timeStyle: "medium" }),
  day: format({ weekday: "long", day: "numeric", month: "long", year: "numeric" }),
  date: format({ day: "numeric", month: "long", year: "numeric" }),
  zoned: format({
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
    second: "2-digit", timeZoneName: "short",
  }),
};
const axis = {
  day: format({ day: "numeric", month: "short" }),
  hour: format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  both: format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
};
const fields = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone, hourCycle: "h23",
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

function format(options) {
  return new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone });
}

/** Puts the times below `root` into the reader's zone and language. */
export function localiseTimes(root = document) {
  const now = Date.now();
  for (const time of root.querySelectorAll("time[data-as]")) {
    const moment = new Date(time.dateTime);
    const { as } = time.dataset;
    const text = as === "ago" ? ago(moment, now) : as === "day" ? dayInWords(moment, now) : formats[as].format(moment);
    if (time.textContent !== text) time.textContent = text;
    if (as === "day") time.removeAttribute("title");
    else time.title = formats.zoned.format(moment) + (as === "clock" ? ` · ${ago(moment, now)}` : "");
  }
  for (const label of root.querySelectorAll("text[data-datetime]")) {
    label.textContent = axis[label.dataset.style].format(new Date(label.dataset.datetime));
  }
  for (const tip of root.querySelectorAll("title[data-datetime]")) {
    tip.textContent = `${axis.both.format(new Date(tip.dataset.datetime))}: ${tip.dataset.words}`;
  }
  for (const place of root.querySelectorAll(".zone")) place.textContent = zone;
}

/** Localises all times, keeps "3 min ago" up to date, and lets the reader choose the zone. */
export function keepTimes() {
  localiseTimes();
  setInterval(() => localiseTimes(), REFRESH_MS);
  // The server uses the cookie for the next page.
  if (page.zoneChoice === "local" && page.zone !== own) keep(`local:${own}`);
  const menu = document.querySelector("[data-zones]");
  if (!menu) return;
  menu.hidden = false;
  menu.querySelector("[data-own-zone]").textContent = own;
  menu.addEventListener("click", ({ target }) => {
    const { value } = target.closest("button") ?? {};
    if (!value) return;
    keep(value === "local" ? `local:${own}` : value);
    location.reload();
  });
}

/** The day of a moment, `2026-03-01`. */
export function dayOf(moment) {
  return inFields(moment).slice(0, 10);
}

/** A moment in the format of a field for date and time, `2026-03-01T09:15`. */
export function inFields(moment) {
  const part = Object.fromEntries(fields.formatToParts(moment).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}:${part.second}`;
}

/** The moment that a field for date and time names. */
export function momentOf(field) {
  const wanted = Date.parse(`${field}Z`);
  const offset = (moment) => Date.parse(`${inFields(moment)}Z`) - Math.floor(moment / 1000) * 1000;
  // The offset may change between the first guess and the moment that is meant.
  const guess = wanted - offset(wanted);
  return new Date(wanted - offset(guess));
}

function keep(choice) {
  document.cookie = `zone=${encodeURIComponent(choice)}; path=/; max-age=${COOKIE_SECONDS}; SameSite=Lax`;
}

function dayInWords(moment, now) {
  const days = (Date.parse(dayOf(now)) - Date.parse(dayOf(moment))) / 86_400_000;
  const name = ["Today", "Yesterday"][days];
  return name ? `${name}, ${formats.date.format(moment)}` : formats.day.format(moment);
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
