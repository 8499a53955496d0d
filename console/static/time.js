// Times come in UTC; here they become the viewer's own.
const lang = document.documentElement.lang || "en";
const SHORT = new Intl.DateTimeFormat(lang, { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const LONG = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium" });
const UNITS = [[86_400, "d"], [3_600, "h"], [60, "m"], [1, "s"]];

function ago(at) {
  const seconds = Math.max(0, Math.floor((Date.now() - at) / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS.at(-1);
  return Math.floor(seconds / size) + unit;
}

export function localize(root, only) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const style = time.dataset.style;
    if (only && style !== only) continue;
    const at = new Date(time.dateTime);
    time.textContent = style === "ago" ? ago(at) : (style === "long" ? LONG : SHORT).format(at);
    time.title = LONG.format(at);
  }
}
