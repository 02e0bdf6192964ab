"use strict";
const changes = [...document.querySelectorAll(".change")];
const folds = [...document.querySelectorAll("details")];
const where = document.getElementById("where");
const all = document.getElementById("all");
let at = -1;

function go(by) {
  if (!changes.length) return;
  at = at < 0 && by < 0 ? changes.length - 1 : Math.min(Math.max(at + by, 0), changes.length - 1);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  changes[at].focus({ preventScroll: true });
  const tall = changes[at].offsetHeight > innerHeight - 120;
  changes[at].scrollIntoView({ block: tall ? "start" : "center", behavior: calm ? "auto" : "smooth" });
  where.textContent = `change ${at + 1} of ${changes.length}`;
}

function openOrFold() {
  const open = folds.some((fold) => !fold.open);
  for (const fold of folds) fold.open = open;
  say();
}

function say() {
  const open = folds.some((fold) => !fold.open);
  all.querySelector("span").textContent = open ? "open what is folded" : "fold what is unchanged";
}

const keys = { j: () => go(1), k: () => go(-1), o: openOrFold };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
document.addEventListener("focusin", (event) => {
  const inside = changes.indexOf(event.target.closest(".change"));
  if (inside >= 0) at = inside;
});
document.getElementById("next").addEventListener("click", keys.j);
document.getElementById("previous").addEventListener("click", keys.k);
all.addEventListener("click", openOrFold);
for (const fold of folds) fold.addEventListener("toggle", say);
all.hidden = !folds.length;
where.textContent = `${changes.length} changes`;
