// The exceptions page: move without loading the page, keep what was typed, count what is selected.
import { localize } from "./time.js";

const COUNTS_EVERY = 1_000;

export function startQueue() {
  const main = document.querySelector('[data-page="queue"]');
  const pane = document.querySelector("[data-pane]");
  const bulk = document.getElementById("bulk");
  const drafts = new Map();
  const shown = {};
  let wanted = "";

  const rows = () => [...main.querySelectorAll("tr[data-ref]")];
  const current = () => main.querySelector('tr[aria-current="true"]');
  const ticks = () => [...main.querySelectorAll('tbody input[name="ref"]')];

  function keepTyping() {
    const ref = pane.querySelector("[data-ref]")?.dataset.ref;
    const typed = [...pane.querySelectorAll("input:not([type=hidden]), select")].filter((field) =>
      field.matches("select") ? !field.options[field.selectedIndex]?.defaultSelected && field.selectedIndex > 0 : field.value !== field.defaultValue);
    if (ref) drafts.set(ref, typed.map((field) => [field.form?.className, field.name, field.value]));
  }

  function giveBack(ref) {
    for (const [form, name, value] of drafts.get(ref) ?? []) {
      const field = [...pane.querySelectorAll(`[name="${CSS.escape(name)}"]`)].find((each) => each.form?.className === form && each.type !== "hidden");
      if (field) { field.value = value; field.closest("details")?.setAttribute("open", ""); }
    }
  }

  async function show(row, push = true) {
    const anchor = row.querySelector(".what a");
    const ref = row.dataset.ref;
    if (matchMedia("(max-width: 800px)").matches) { location.assign(anchor.href); return; }
    keepTyping();
    current()?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    row.scrollIntoView({ block: "nearest" });
    wanted = ref;
    const next = row.nextElementSibling?.dataset.ref;
    const url = anchor.href + (next ? `&then=${next}` : "");
    const answer = await fetch(url, { headers: { "x-part": "detail" } });
    if (answer.redirected || answer.status === 401) { location.assign(anchor.href); return; }
    const text = await answer.text();
    if (wanted !== ref) return;
    pane.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
    localize(pane);
    giveBack(ref);
    pane.parentElement.scrollTop = 0;
    if (push) history.replaceState(null, "", anchor.href);
  }

  function move(step) {
    const all = rows();
    const to = all[all.indexOf(current()) + step];
    if (to) show(to);
  }

  function count() {
    const chosen = ticks().filter((tick) => tick.checked);
    for (const tick of ticks()) tick.closest("tr").classList.toggle("ticked", tick.checked);
    if (!bulk) return;
    bulk.querySelector("[data-selected]").textContent = chosen.length;
    bulk.classList.toggle("any", chosen.length > 0);
  }

  function toggle() {
    const tick = current()?.querySelector('input[name="ref"]');
    if (tick) { tick.checked = !tick.checked; count(); }
  }

  function clear() {
    for (const tick of ticks()) tick.checked = false;
    const all = main.querySelector("[data-all]");
    if (all) all.checked = false;
    count();
  }

  main.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-ref]");
    if (!row || event.target.closest("input") || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show(row);
  });
  main.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) for (const tick of ticks()) tick.checked = event.target.checked;
    if (event.target.matches('[data-all], input[name="ref"]')) count();
  });
  document.querySelector("[data-clear]")?.addEventListener("click", clear);
  count();

  async function refreshCounts() {
    if (document.hidden) return;
    const answer = await fetch("/exceptions/counts").catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const told = await answer.json();
    const counts = { open: told.open, snoozed: told.snoozed, ...told.codes };
    const here = document.querySelector('.tabs a[aria-current="page"] [data-count]')?.dataset.count;
    if (here && shown[here] === undefined) shown[here] = counts[here] ?? 0;
    if (here && (counts[here] ?? 0) > shown[here]) document.querySelector("[data-fresh]").hidden = false;
    for (const place of document.querySelectorAll("[data-count]")) place.textContent = counts[place.dataset.count] ?? 0;
  }
  setInterval(refreshCounts, COUNTS_EVERY);

  return { move, toggle, clear };
}
