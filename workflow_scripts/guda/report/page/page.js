"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const G = data.groups.length, PAGE = 60, SURE = 0.9, LIKELY = 0.6, STANDS_OUT = 0.05;
const by = (id) => document.getElementById(id);
const format = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const number = (value) => (value === null || value === undefined ? "" : format.format(value));

// An element with attributes and children; text is only ever set as text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const scoresOf = (method, query) => data.scores[method].slice(query * G, (query + 1) * G);
const orderOf = (scores) => scores.map((_, group) => group).sort((a, b) => scores[b] - scores[a]);

// --- Ranks of all images, computed once per method

const worked = {};
function work(method) {
  if (worked[method]) return worked[method];
  const first = [], size = [], margin = [], tied = [];
  for (let query = 0; query < data.queries.length; query++) {
    let best = -1, top = -Infinity, second = -Infinity, equal = 0;
    for (let group = 0; group < G; group++) {
      const score = data.scores[method][query * G + group];
      if (score > top) { second = top; top = score; best = group; equal = 1; }
      else {
        if (score === top) equal++;
        if (score > second) second = score;
      }
    }
    first.push(best); size.push(top); margin.push(top - second); tied.push(equal);
  }
  return (worked[method] = { first, size, margin, tied });
}

const others = data.methods.filter((method) => method !== "random");
let differing = null;
function disagreement() {
  differing ??= data.queries.map((_, query) => new Set(others.map((method) => work(method).first[query])).size);
  return differing;
}

const texts = data.queries.map((query, row) =>
  [query, ...Object.values(data.known).map((column) => column[row])].join("\n").toLowerCase());

let chosen = [], shown = 0, method = data.methods[0];

function select() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean), group = by("first").value;
  const { first, size, margin } = work(method), sure = data.sure[method], kind = by("sure").value;
  const ofNone = kind === "stands" || kind === "none", values = ofNone ? data.none[method] : sure;
  const fits = {
    sure: (p) => p >= SURE, likely: (p) => p >= LIKELY && p < SURE, unsure: (p) => p < LIKELY,
    stands: (p) => p < STANDS_OUT, none: (p) => p >= STANDS_OUT,
  }[kind];
  chosen = [];
  for (let query = 0; query < data.queries.length; query++) {
    if (group !== "" && first[query] !== Number(group)) continue;
    if (fits && !(values && values[query] !== null && fits(values[query]))) continue;
    if (words.length && !words.every((word) => texts[query].includes(word))) continue;
    chosen.push(query);
  }
  const key = { size, margin, sureness: sure, disagreement: by("order").value === "disagreement" ? disagreement() : null }[by("order").value];
  if (key) chosen.sort((a, b) => (key[b] ?? -Infinity) - (key[a] ?? -Infinity) || a - b);
  if (by("reverse").checked) chosen.reverse();
  shown = 0;
  by("cards").replaceChildren();
  more();
  by("count").textContent = `${chosen.length} of ${data.queries.length} images`;
}

function more() {
  const { first, size, tied } = work(method), largest = data.largest[method] || 1;
  const cards = chosen.slice(shown, shown + PAGE).map((query, offset) => {
    const share = Math.max(0, Math.min(1, Math.sqrt(Math.max(0, size[query]) / largest)));
    const others = tied[query] - 1, place = shown + offset;
    const name = data.groups[first[query]] + (others ? ` and ${others} more, tied` : "");
    const p = data.sure[method]?.[query];
    const button = make("button", { type: "button", onclick: () => open(place) },
      make("img", { src: data.pictures[query], alt: "", loading: "lazy" }),
      make("strong", { class: "name", text: name, title: name }),
      make("span", { class: "quiet", text: `${number(size[query])}${data.units[method] ? " " + data.units[method] : ""}${p === null || p === undefined ? "" : `, p ${p.toFixed(2)}`}` }),
      ...(data.none[method]?.[query] >= STANDS_OUT ? [make("span", { class: "quiet", text: "no group stands out" })] : []),
      make("span", { class: "name quiet", text: data.queries[query], title: data.queries[query] }),
      make("div", { class: "bar", "aria-hidden": "true" }, make("span", { style: `width:${100 * share}%` })));
    return make("li", {}, button);
  });
  by("cards").append(...cards);
  shown += cards.length;
  by("more").hidden = shown >= chosen.length;
}

// --- One image

let at = 0;
function open(place) {
  at = place;
  const query = chosen[place];
  by("detail-title").textContent = data.queries[query];
  by("detail-body").replaceChildren(...detail(query));
  by("previous").disabled = place === 0;
  by("next").disabled = place === chosen.length - 1;
  if (!by("detail").open) by("detail").showModal();
}

function detail(query) {
  const verdict = method === data.methods[0] ? data.verdicts[query]
    : `${data.groups[work(method).first[query]]} ranks first.`;
  const known = Object.entries(data.known).filter(([, column]) => column[query])
    .map(([name, column]) => make("p", { class: "quiet", text: `${name}: ${column[query]}` }));
  const picture = make("div", {}, make("img", { class: "large", src: data.pictures[query], alt: `image ${data.queries[query]}` }), ...known);
  const parts = [
    make("p", {}, make("strong", { text: verdict })),
    make("div", { class: "beside" }, picture, make("div", { class: "scroll" }, bars(query))),
  ];
  const likes = data.nearest[query];
  if (likes) {
    parts.push(make("h3", { text: "Nearest training images from the top groups (by pixel distance)" }));
    parts.push(make("div", { class: "likes" }, ...likes.map(([group, rows]) => make("figure", {},
      ...rows.map((row) => make("img", { src: data.training.pictures[row], alt: data.training.ids[row], title: data.training.ids[row] })),
      make("figcaption", { text: data.groups[group] })))));
  }
  if (data.maps[query]) {
    parts.push(make("h3", { text: "Where in the image the evidence lies" }));
    parts.push(make("p", { class: "quiet", text: "Without the group, the model explains blue pixels worse and orange pixels better. Pale pixels are not significant." }));
    parts.push(make("div", { class: "likes" }, ...where(query)));
  }
  if (data.redrawn[query]) parts.push(make("h3", { text: "Samples from the same noise without each group" }), make("div", { class: "likes" }, ...again(query)));
  parts.push(make("h3", { text: "Top groups by method" }), make("div", { class: "scroll" }, votes(query)));
  return parts;
}

// Maps of the top groups, each overlaid on the image.
function where(query) {
  const maps = data.maps[query], order = orderOf(scoresOf(data.methods[0], query)).filter((group) => maps[group]);
  return order.map((group) => make("figure", {},
    make("div", { class: "over" }, make("img", { src: data.pictures[query], alt: "" }), make("img", { src: maps[group].overlay, alt: `map of the evidence for ${data.groups[group]}` })),
    make("figcaption", { text: `${data.groups[group]}: ${maps[group].said}` })));
}

// The image, and the samples from the same noise by the models without each of its top groups.
function again(query) {
  const drawn = data.redrawn[query], order = orderOf(scoresOf(data.methods[0], query)).filter((group) => drawn[group]);
  const pictures = [[data.pictures[query], "base model"], ...order.map((group) => [drawn[group], `without ${data.groups[group]}`])];
  return pictures.map(([src, text]) => make("figure", {}, make("img", { src, alt: text }), make("figcaption", { text })));
}

function redrawn() {
  const queries = Object.keys(data.redrawn).map(Number);
  by("redrawn").hidden = !queries.length;
  by("redrawn-body").append(...queries.map((query) => make("div", { class: "row" }, make("p", { class: "quiet", text: data.queries[query] }), make("div", { class: "likes" }, ...again(query)))));
}

function bars(query) {
  const scores = scoresOf(method, query), se = data.se[method]?.slice(query * G, (query + 1) * G), order = orderOf(scores);
  const error = (group) => (se ? 1.96 * se[group] : 0);
  const low = Math.min(0, ...order.map((group) => scores[group] - error(group)));
  const high = Math.max(1e-12, ...order.map((group) => scores[group] + error(group)));
  const x = (value) => (100 * (value - low)) / (high - low);
  const rows = order.map((group) => {
    const from = Math.min(x(0), x(scores[group])), width = Math.abs(x(scores[group]) - x(0));
    const chart = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { x: from, y: 2, width, height: 8, fill: "var(--bar)" }));
    if (se) chart.append(svg("line", { x1: x(scores[group] - error(group)), x2: x(scores[group] + error(group)), y1: 6, y2: 6, stroke: "var(--ink)", "stroke-width": 1 }));
    return make("tr", {}, make("td", { text: data.groups[group] }), make("td", { text: number(scores[group]) }),
      make("td", { text: se ? `± ${number(error(group))}` : "" }), make("td", { class: "chart" }, chart));
  });
  const unit = data.units[method] ? ` (${data.units[method]})` : "";
  return make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "group" }),
    make("th", { scope: "col", text: `score${unit}` }), make("th", { scope: "col", text: se ? "95 %" : "" }), make("th", { scope: "col", text: `by ${method}` }))),
    make("tbody", {}, ...rows));
}

function votes(query) {
  const rows = data.methods.map((name) => {
    const order = orderOf(scoresOf(name, query)).slice(0, 3), p = data.sure[name]?.[query];
    return make("tr", {}, make("td", { text: name }),
      ...[0, 1, 2].map((place) => make("td", { text: order[place] === undefined ? "" : data.groups[order[place]] })),
      make("td", { text: p === null || p === undefined ? "" : p.toFixed(2) }));
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...["method", "first", "second", "third", "probability of the same first group in another run"].map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...rows));
}

// --- Overview

function places() {
  const { first } = work(method), counts = data.groups.map((_, group) => first.filter((each) => each === group).length);
  const most = Math.max(1, ...counts);
  const rows = data.groups.map((name, group) => group).sort((a, b) => counts[b] - counts[a]).map((group) => make("tr", {},
    make("td", { text: data.groups[group] }), make("td", { text: counts[group] }),
    make("td", { class: "chart" }, make("div", { class: "bar", "aria-hidden": "true" }, make("span", { style: `width:${(100 * counts[group]) / most}%` }))),
    make("td", { text: data.n_images[group] })));
  by("places").replaceChildren(make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {},
    ...["group", "ranked first", "", "training images"].map((text) => make("th", { scope: "col", text })))), make("tbody", {}, ...rows))));
}

// Rows are images, sorted by first group and its score; columns are groups. Opacity grows with the square root of a score.
function map() {
  const { first, size } = work(method), canvas = by("map"), n = data.queries.length;
  const rows = data.queries.map((_, query) => query).sort((a, b) => first[a] - first[b] || size[b] - size[a]);
  canvas.width = G; canvas.height = n;
  canvas.style.width = `${Math.max(240, Math.min(900, G * 24))}px`;
  canvas.style.height = `${Math.max(120, Math.min(600, n * 2))}px`;
  const context = canvas.getContext("2d"), pixels = context.createImageData(G, n), largest = data.largest[method] || 1;
  rows.forEach((query, row) => {
    for (let group = 0; group < G; group++) {
      const score = data.scores[method][query * G + group], share = Math.min(1, Math.sqrt(Math.abs(score) / largest));
      const [red, green, blue] = score >= 0 ? [42, 111, 187] : [190, 90, 40], offset = 4 * (row * G + group);
      pixels.data.set([red, green, blue, Math.round(255 * share)], offset);
    }
  });
  context.putImageData(pixels, 0, 0);
  by("map-caption").textContent = `Each row is an image and each column a group, in the order listed below; rows are sorted by their first group under ${method}. Blue: the model explains the image worse without the group; orange: better.`;
  canvas.setAttribute("aria-label", `Scores of ${n} images for ${G} groups under ${method}`);
  by("map-labels").replaceChildren(...data.groups.map((name, group) => make("div", { text: `${group + 1}. ${name}` })));
}

// Contribution of each diffusion step to the first group's score.
function schedule() {
  if (!data.schedule) return;
  const { steps, nats } = data.schedule, W = 640, H = 200, M = 48, high = Math.max(0, ...nats), low = Math.min(0, ...nats);
  const width = (W - 1.5 * M) / steps.length, y = (value) => M / 2 + ((H - 1.5 * M) * (high - value)) / (high - low || 1);
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, style: "max-width:100%;height:auto", role: "img", "aria-label": "Contribution of each diffusion step to the score of the first group, in nats" });
  steps.forEach((step, index) => {
    const x = M + index * width;
    chart.append(svg("rect", { x: x + 1, width: width - 2, y: Math.min(y(0), y(nats[index])), height: Math.abs(y(nats[index]) - y(0)), fill: "var(--bar)" }));
    if (index % Math.ceil(steps.length / 12) === 0) chart.append(label(x + width / 2, H - M / 2, step));
  });
  chart.append(svg("line", { x1: M, x2: W - M / 2, y1: y(0), y2: y(0), stroke: "var(--ink)" }), label(M - 6, y(high) + 4, number(high), "end"), label(W / 2, H - 6, "diffusion step"));
  by("schedule").hidden = false;
  by("schedule-body").append(chart);
}

// Training loss of the base model by step.
function curve() {
  if (!data.curve) return;
  const { steps, loss } = data.curve, W = 640, H = 200, M = 48, top = Math.max(...loss), last = steps[steps.length - 1];
  const x = (step) => M + ((W - 1.5 * M) * step) / last, y = (value) => H - M / 1.5 - ((H - M) * value) / top;
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, style: "max-width:100%;height:auto", role: "img", "aria-label": "Training loss of the base model by step" });
  for (const value of [0, top]) chart.append(svg("line", { x1: M, x2: x(last), y1: y(value), y2: y(value), stroke: "var(--line)" }), label(M - 6, y(value) + 4, number(value), "end"));
  chart.append(svg("polyline", { points: steps.map((step, index) => `${x(step)},${y(loss[index])}`).join(" "), fill: "none", stroke: "var(--bar)", "stroke-width": 2 }),
    label(x(last), H - 8, `${last} steps`, "end"), label(M, 12, "training loss", "start"));
  by("quality").append(chart);
}

function quality() {
  by("quality").append(table(data.quality.columns, data.quality.rows));
  curve();
}

function table(columns, rows) {
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...columns.map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))));
}

function cell(value) {
  const text = typeof value === "string" ? value : number(value);
  return make("td", text.length > 30 ? { text, class: "long" } : { text });
}

function label(x, y, content, anchor = "middle") {
  const element = svg("text", { x, y, "text-anchor": anchor, "font-size": 12, fill: "var(--ink)" });
  element.textContent = content;
  return element;
}

// --- Methods and provenance

function agreement() {
  if (!data.metrics) {
    by("agreement").append(make("p", { text: "No model was retrained, so how well these attributions agree with retraining is unknown." }));
    return;
  }
  by("agreement").append(make("p", { text: data.metrics.caption }));
  by("agreement").append(table(data.metrics.columns, data.metrics.rows));
  scatter();
}

// Agreement versus cost: each method's kappa against its network evaluations, on a logarithmic axis.
function scatter() {
  const points = data.metrics.points.filter((point) => point.evaluations > 0 && point.kappa !== null);
  if (points.length < 2) return;
  const logs = points.map((point) => Math.log10(point.evaluations)), left = Math.floor(Math.min(...logs)), right = Math.ceil(Math.max(...logs) + 0.01);
  const bottom = Math.min(0, ...points.map((point) => point.kappa)), W = 640, H = 300, M = 48;
  const x = (value) => M + ((W - 2 * M) * (value - left)) / (right - left), y = (value) => H - M - ((H - 1.5 * M) * (value - bottom)) / (1 - bottom);
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, style: "max-width:100%;height:auto", role: "img", "aria-label": "Kappa of each method against its network evaluations" });
  for (let power = left; power <= right; power++) chart.append(svg("line", { x1: x(power), x2: x(power), y1: y(bottom), y2: y(1), stroke: "var(--line)" }), label(x(power), H - M + 18, power < 4 ? 10 ** power : `1e${power}`));
  for (const level of [0, 0.5, 1]) chart.append(svg("line", { x1: M, x2: W - M, y1: y(level), y2: y(level), stroke: "var(--line)" }), label(M - 8, y(level) + 4, level, "end"));
  points.sort((a, b) => a.kappa - b.kappa);
  let above = Infinity;
  for (const point of points) {
    const cx = x(Math.log10(point.evaluations)), cy = y(point.kappa), down = Math.min(cy + 4, above - 13);
    above = down;
    const end = cx > W / 2;
    chart.append(svg("circle", { cx, cy, r: 4, fill: "var(--bar)" }), label(cx + (end ? -9 : 9), down, point.method, end ? "end" : "start"));
  }
  chart.append(label(W / 2, H - 8, "network evaluations"), label(M, 14, "kappa", "start"));
  by("agreement").append(make("h3", { text: "Agreement versus cost" }), make("div", { class: "scroll" }, chart));
}

function origin() {
  by("origin").append(
    make("p", { text: `Produced with ${Object.entries(data.versions).map(([name, version]) => `${name} ${version}`).join(", ")}.` }),
    table(["method", ...data.costs], data.origin.map(({ name, costs }) => [name, ...costs])),
    ...data.specs.map(([name, spec]) => make("details", {}, make("summary", { text: `Spec of ${name}` }), make("pre", { text: spec }))));
}

// --- Start

function redraw() { select(); places(); map(); }

by("summary").textContent = data.summary;
by("notes").append(...data.notes.map((text) => make("p", { text })));
by("method").append(...data.methods.map((name) => make("option", { value: name, text: name })));
by("first").append(...data.groups.map((name, group) => make("option", { value: group, text: name })));
by("method").addEventListener("change", () => { method = by("method").value; redraw(); });
for (const id of ["first", "sure", "order", "reverse"]) by(id).addEventListener("change", select);
by("search").addEventListener("input", select);
by("controls").addEventListener("submit", (event) => event.preventDefault());
by("more").addEventListener("click", more);
by("previous").addEventListener("click", () => open(at - 1));
by("next").addEventListener("click", () => open(at + 1));
by("detail").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft" && at > 0) open(at - 1);
  if (event.key === "ArrowRight" && at < chosen.length - 1) open(at + 1);
});
select();
requestAnimationFrame(() => { places(); map(); redrawn(); schedule(); quality(); agreement(); origin(); });
