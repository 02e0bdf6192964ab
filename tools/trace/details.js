
// ── the details, made when they are opened ─────────────────────────────────

function drawDetails(item) {
  const exchange = data.exchanges[item.dataset.id];
  const kind = item.dataset.kind;
  const took = `${(exchange.at / 1000).toFixed(2)} s after the start, answered in ${exchange.took} ms`;
  const inside = make("div", {}, make("p", { class: "because" }, ...because(exchange.why), make("small", {}, took)));
  if (kind !== "answer") inside.append(drawRequest(exchange));
  if (kind !== "request") inside.append(drawResponse(exchange));
  const details = make("div", { class: "details", id: `details-${exchange.id}-${kind}` }, inside);
  item.append(details);
  item.querySelector(".line").setAttribute("aria-controls", details.id);
  return details;
}

function drawRequest({ from, to, request }) {
  const half = make("section", { class: "half" }, make("h3", {}, `${names[from]} asks ${names[to]}`),
    make("p", { class: "first-line" }, `${request.method} ${request.url.split("?")[0]}`));
  const query = request.url.includes("?") ? request.url.slice(request.url.indexOf("?") + 1).split("#")[0] : "";
  if (query) half.append(...titled("Parameters in the address", fieldsOf(query)));
  half.append(...drawMessage(request));
  return half;
}

function drawResponse({ to, response }) {
  if (!response) return make("section", { class: "half" }, make("h3", {}, `${names[to]} does not answer`));
  const half = make("section", { class: "half" }, make("h3", {}, `${names[to]} answers`),
    make("p", { class: "first-line" }, `${response.status} ${response.reason}`));
  half.append(...drawMessage(response));
  return half;
}

function drawMessage(message) {
  const parts = [...message.tokens.flatMap(drawToken)];
  if (message.body) parts.unshift(...titled(`Body, ${message.size} bytes`, drawBody(message)));
  return [...parts, ...titled("Headers", tableOf(message.headers))];
}

function titled(title, shown) {
  return [make("h4", {}, title), shown];
}

function drawBody(message) {
  const type = (message.headers.find(([name]) => name.toLowerCase() === "content-type") || ["", ""])[1];
  if (type.startsWith("application/x-www-form-urlencoded")) return fieldsOf(message.body);
  return make("pre", { tabindex: "0" }, indented(message.body));
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function fieldsOf(encoded) {
  return tableOf([...new URLSearchParams(encoded)]);
}

function tableOf(pairs) {
  const row = ([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value));
  return make("table", {}, make("tbody", {}, ...pairs.map(row)));
}

function drawToken(token) {
  const rows = [...Object.entries(token.header), ...Object.entries(token.claims)].map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, ...claimed(name, value)),
      make("td", { class: "word" }, Object.hasOwn(data.claims, name) ? data.claims[name] : "")));
  return titled(`The token in ${token.where}, decoded`, make("table", {}, make("tbody", {}, ...rows)));
}

function claimed(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const moment = ["iat", "nbf", "exp"].includes(name) && Number.isFinite(value) ? new Date(value * 1000) : null;
  if (!moment || Number.isNaN(moment.valueOf())) return [text];
  return [text, make("small", {}, moment.toISOString().replace("T", " ").replace(".000Z", " UTC"))];
}
