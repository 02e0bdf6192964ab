
// ── opening, moving, filtering ─────────────────────────────────────────────

const items = () => [...document.querySelectorAll(".row")].filter((item) => item.checkVisibility());

function toggle(item, opened) {
  const line = item.querySelector(".line");
  const details = item.querySelector(".details") || (opened ? drawDetails(item) : null);
  if (details) details.hidden = !opened;
  line.setAttribute("aria-expanded", String(opened));
}

function isOpen(item) {
  return item.querySelector(".line").getAttribute("aria-expanded") === "true";
}

function stop(item) {
  for (const line of document.querySelectorAll('.line[tabindex="0"]')) line.tabIndex = -1;
  if (item) item.querySelector(".line").tabIndex = 0;
}

function moveTo(item) {
  if (!item) return;
  stop(item);
  item.querySelector(".line").focus({ preventScroll: true });
  item.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("pre")) {
    if (event.key !== "Escape") return;
  }
  const shown = items();
  const here = event.target.closest(".row") || document.querySelector('.line[tabindex="0"]')?.closest(".row");
  const on = event.target.closest(".row") !== null;
  const at = shown.indexOf(here);
  const step = (by) => shown[Math.min(Math.max(on ? at + by : at, 0), shown.length - 1)];
  const moves = { ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
    Home: () => shown[0], End: () => shown.at(-1) };
  if (Object.hasOwn(moves, event.key)) {
    event.preventDefault();
    moveTo(moves[event.key]());
  } else if (event.key === "Escape" && here) {
    toggle(here, false);
    moveTo(here);
  }
}

function filter() {
  const only = byId("only").checked;
  byId("diagram").classList.toggle("filtered", only);
  for (const fold of document.querySelectorAll(".fold")) fold.remove();
  for (const item of document.querySelectorAll(".row:not(.lesson)")) item.hidden = only;
  let folded = [];
  const parts = [...document.querySelectorAll(".say")];
  for (const part of parts) {
    part.hidden = only && part.dataset.lesson !== "true";
    if (part.hidden) folded.push(part.dataset.number);
    else folded = foldBefore(part, folded);
  }
  if (folded.length) foldBefore(null, folded);
  if (!document.querySelector('.line[tabindex="0"]')?.checkVisibility()) stop(items()[0]);
  countLines();
}

function foldBefore(part, folded) {
  const numbers = folded.filter(Boolean);
  const some = numbers.length > 1 ? `${numbers[0]}–${numbers.at(-1)}` : numbers[0];
  if (numbers.length) byId("diagram").insertBefore(make("p", { class: "fold" }, `${some} as before`), part);
  return [];
}

/** How many lines of text the paper has to hold; the style sheet makes them as large as fits on one page. */
function countLines() {
  const height = { both: 2, request: 1, answer: 1 };
  let lines = 2 * document.querySelectorAll(".fold").length;
  for (const part of document.querySelectorAll(".say:not([hidden])")) {
    const rows = [...part.querySelectorAll(".row:not([hidden]), .note")];
    const told = rows.reduce((sum, row) => sum + (height[row.dataset.kind] || 1), 0);
    lines += Math.max(told, part.dataset.number ? 2 : 0);
  }
  styled(document.documentElement, { "--paper-lines": Math.max(lines, 1) });
}

function openAll() {
  const opened = byId("all").getAttribute("aria-pressed") !== "true";
  for (const item of items()) toggle(item, opened);
  byId("all").setAttribute("aria-pressed", String(opened));
  byId("all").textContent = opened ? "close all" : "open all";
}

function openWhatTheAddressNames() {
  const item = [...document.querySelectorAll(".row")].find((row) => `#${row.dataset.id}` === location.hash);
  if (!item) return;
  toggle(item, true);
  moveTo(item);
}

drawFrame();
drawStory();
stop(items()[0]);
countLines();
byId("only").addEventListener("change", filter);
byId("all").addEventListener("click", openAll);
byId("diagram").addEventListener("click", (event) => {
  const line = event.target.closest(".line");
  if (!line) return;
  stop(line.parentElement);
  toggle(line.parentElement, !isOpen(line.parentElement));
});
document.addEventListener("keydown", onKey);
addEventListener("hashchange", openWhatTheAddressNames);
openWhatTheAddressNames();
