// Keys press what is on the page: a control says which key it answers to (data-key).
const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable]";

export function startKeys(queue) {
  const help = document.getElementById("help");
  for (const button of document.querySelectorAll("[data-help]")) button.addEventListener("click", () => help.showModal());

  function press(key) {
    const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!target) return false;
    if (target.matches("details")) { target.open = true; (target.querySelector("[aria-invalid]") ?? target.querySelector('input:not([type="hidden"])'))?.focus(); }
    else if (target.matches("input, select")) { target.focus(); target.select?.(); }
    else target.click();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") {
      if (document.activeElement?.matches(TYPING)) document.activeElement.blur();
      else queue?.clear();
      return;
    }
    if (event.target.matches?.(TYPING) || help.open) return;
    const done = { j: () => queue?.move(1), k: () => queue?.move(-1), x: () => queue?.toggle(), "?": () => help.showModal() }[event.key];
    if (done) { event.preventDefault(); done(); }
    else if (/^[aehio1-9/]$/.test(event.key) && press(event.key)) event.preventDefault();
  });
}
