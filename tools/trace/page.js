
"use strict";
const data = JSON.parse(document.getElementById("trace").textContent);
const lanes = data.parties.map((party) => party.id);
const names = Object.fromEntries(data.parties.map((party) => [party.id, party.name]));
const byId = (id) => document.getElementById(id);

/** An element with attributes and children. Text becomes text, never markup. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function styled(made, properties) {
  for (const [name, value] of Object.entries(properties)) made.style.setProperty(name, value);
  return made;
}

// ── the frame ──────────────────────────────────────────────────────────────

function drawFrame() {
  const count = Object.keys(data.exchanges).length;
  const lesson = Object.values(data.exchanges).filter((exchange) => exchange.lesson).length;
  byId("step").textContent = `Step ${data.step} · ${data.title}`;
  byId("thesis").textContent = data.thesis;
  const began = new Date(data.began);
  byId("facts").textContent = `${count} exchanges, ${lesson} of them the lesson · a run of ` +
    `${Number.isNaN(began.valueOf()) ? data.began : began.toLocaleString()}`;
  byId("outcome").textContent = data.outcome;
  byId("outcome").hidden = !data.outcome;
  byId("filter").hidden = !lesson;
  styled(document.documentElement, { "--lanes": lanes.length });
  for (const party of data.parties) {
    byId("heads").append(make("span", { class: `head ${party.id === "attacker" ? "attacker" : ""}` }, party.name));
    byId("lifelines").append(make("i"));
  }
}

// ── the story ──────────────────────────────────────────────────────────────

function drawStory() {
  const story = document.createDocumentFragment();
  const open = [];
  for (const section of data.sections) {
    const rows = make("ol", { class: "rows" }, ...section.rows.map((row) => drawRow(row, open)));
    const part = make("section", { class: section.say ? "say" : "say before" }, drawSay(section.say), rows);
    part.dataset.lesson = section.lesson;
    part.dataset.number = section.say ? section.say.number : "";
    story.append(part);
  }
  byId("diagram").append(story);
}

function drawSay(say) {
  if (!say) return "";
  return make("header", {},
    make("span", { class: "number", "aria-hidden": "true" }, String(say.number)),
    make("div", { class: "words" },
      make("h2", {}, make("span", { class: "unseen" }, `${say.number}. `), say.what),
      make("p", { class: "why" }, ...because(say.why))));
}

/** A sentence, with the section it cites kept together. */
function because(why) {
  const cited = why.match(/^(.*?)((?:RFC \d+|OAuth 2\.1|OpenID [\w ]+|MCP specification)[\w§., -]{0,40})$/s);
  if (!cited) return [make("span", { class: "because-text" }, why)];
  return [make("span", { class: "because-text" }, cited[1]), make("span", { class: "ref" }, cited[2])];
}

function drawRow(row, open) {
  if (row.kind === "note") return make("li", { class: "note" }, row.text);
  const exchange = data.exchanges[row.id];
  const item = make("li", { class: exchange.lesson ? "row lesson" : "row" });
  item.dataset.id = exchange.id;
  item.dataset.kind = row.kind;
  drawBusy(item, row, exchange, open);
  const spoken = { "aria-expanded": "false", "aria-label": inOneSentence(row, exchange) };
  const line = make("button", { class: "line", type: "button", tabindex: "-1", ...spoken },
    make("span", { class: "tag" }, "lesson"), make("i", { class: "twisty" }),
    make("span", { class: "who" }, whoAsksWhom(row, exchange)));
  if (row.kind !== "answer") line.append(drawArrow(exchange, true));
  if (row.kind !== "request") line.append(drawArrow(exchange, false));
  item.append(line);
  return item;
}

function whoAsksWhom(row, exchange) {
  const [from, to] = [names[exchange.from], names[exchange.to]];
  return row.kind === "answer" ? `${from} ← ${to}` : `${from} → ${to}`;
}

/** While an exchange is open, a bar stands on the lane of whoever has to answer it. */
function drawBusy(item, row, exchange, open) {
  if (row.kind === "request") open.push(exchange);
  for (const one of open) {
    const edge = one === exchange ? (row.kind === "request" ? "first" : "last") : "";
    item.append(styled(make("i", { class: `busy ${edge}` }), { "--at": lanes.indexOf(one.to) }));
  }
  if (row.kind === "answer") open.pop();
}

function drawArrow(exchange, asking) {
  const [from, to] = [lanes.indexOf(exchange.from), lanes.indexOf(exchange.to)];
  const left = Math.min(from, to) + 0.5, span = Math.max(Math.abs(from - to), 0.5);
  const late = left + span / 2 > lanes.length / 2;
  const label = asking ? askedLabel(exchange.asked) : answeredLabel(exchange.answered);
  const room = late ? left + span + 0.4 : lanes.length - left;
  styled(label, { "max-width": `${(room / span) * 100}%` });
  const arrow = make("span", {
    class: `arrow ${asking ? "asked" : "answered"} ${late ? "late" : ""} ${to < from ? "leftwards" : ""}`,
  }, label, make("i", { class: `shaft ${asking ? "asks" : "answers"}` }));
  return styled(arrow, { "--left": left, "--span": span });
}

function askedLabel({ method, path, about }) {
  return make("span", { class: "label" }, make("b", {}, method), ` ${path} `,
    about ? make("span", { class: "about" }, about) : "");
}

function answeredLabel({ status, reason, fact }) {
  const chip = make("span", { class: `status ${kindOf(status)}` }, String(status || "broken"));
  return make("span", { class: "label" }, chip, " ", make("span", { class: "about" }, fact || reason));
}

function kindOf(status) {
  if (status >= 200 && status < 300) return "yes";
  return status >= 100 && status < 400 ? "on" : "no";
}

function inOneSentence(row, exchange) {
  const { asked, answered } = exchange;
  const question = `${names[exchange.from]} to ${names[exchange.to]}: ${asked.method} ${asked.path} ${asked.about}`;
  const answer = `${answered.status || ""} ${answered.reason} ${answered.fact}`;
  const parts = { both: `${question}, answered ${answer}`, request: question, answer: `${question}: ${answer}` };
  return (exchange.lesson ? "Lesson. " : "") + parts[row.kind].replace(/\s+/g, " ").trim();
}
