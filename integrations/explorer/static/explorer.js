// The explorer's page. Whatever comes from the memory is put in as text, never as markup: the
// page's policy (trusted types) lets nothing else through.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, HEIGHT = 640, EDGE = 60, LABEL = 20;
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const state = { overview: null, sides: [], active: null, graph: null, passage: null, after: null };
const byId = (id) => document.getElementById(id);

// The token comes behind the # of the address, and goes from there at once.
function takeToken() {
  const fresh = new URLSearchParams(location.hash.slice(1)).get("token");
  if (fresh) {
    sessionStorage.setItem("hoptrail-token", fresh);
    history.replaceState(null, "", location.pathname);
  }
  return fresh || sessionStorage.getItem("hoptrail-token") || "";
}
const token = takeToken();

async function call(operation, body = {}) {
  const response = await fetch(`/api/${operation}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const data = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(data.error);
  return data;
}

// What hides or turns is shown as its escape; line ends, tabs and joiners stay.
function visible(text) {
  return String(text).replace(UNSAFE, (c) =>
    "\n\t\u200c\u200d".includes(c) ? c : `\\u{${c.codePointAt(0).toString(16)}}`);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, visible(value));
    }
  }
  for (const child of children.flat()) {
    if (child !== null) node.append(typeof child === "string" ? visible(child) : child);
  }
  return node;
}
const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function say(sentence, isError = false) {
  byId("status").textContent = visible(sentence);
  byId("status").classList.toggle("error", isError);
}
const guarded = (work) => async (...values) => {
  try {
    return await work(...values);
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
};

const keyOf = (one) => JSON.stringify([one.namespace, one.id]);
const nameOf = (one) => one.title || one.id;
const percent = (value) => `${Math.round(100 * value)}%`;
const shortened = (text) => (text.length > LABEL ? `${text.slice(0, LABEL)}\u2026` : text);

function options(select, values, label = String) {
  select.replaceChildren(...values.map((value) =>
    make("option", { value: JSON.stringify(value) }, label(value))));
}
const chosen = (id) => JSON.parse(byId(id).value);

function showUndo(sentence) {
  const button = byId("undo");
  button.disabled = !sentence;
  button.textContent = sentence ? visible(`Undo: ${sentence}`) : "Nothing to undo";
}

// Asking, and the walk step by step

const askQuestion = guarded(async () => {
  const question = byId("question").value;
  const shared = { question, namespace: chosen("namespace"), k: Number(byId("k").value) };
  const ways = [{ effort: chosen("effort"), policy: chosen("policy") || null }];
  if (byId("comparing").checked) {
    ways.push({ effort: chosen("effort-beside"), policy: chosen("policy-beside") || null });
  }
  say("walking the memory\u2026");
  const sides = [];
  for (const way of ways) {
    sides.push({ ...way, data: await call("recall", { ...shared, ...way }), trail: 0, step: 0 });
  }
  state.sides = sides;
  say(sides.map((side) => `${sideName(side)}: ${Math.round(side.data.cost.milliseconds)} ms, ` +
    `${side.data.cost.passages_read} of ${side.data.cost.candidates} candidates read`).join("; "));
  showSide(sides[0], 0);
});

const sideName = (side) => (side.policy ? `${side.effort}, ${side.policy}` : side.effort);

// A step is a hop; the one behind the last is STOP.
function showSide(side, step) {
  const trail = side.data.trails[side.trail];
  side.step = trail ? Math.max(0, Math.min(step, trail.hops.length)) : 0;
  state.active = side;
  byId("answers").replaceChildren(...state.sides.map(sideView));
  for (const card of byId("answers").querySelectorAll(".now")) {
    card.scrollIntoView({ block: "nearest" });
  }
  showGraph(side.data.graph, `The walk: ${side.data.question}`);
}

function sideView(side) {
  const { trails, hits } = side.data;
  const trail = trails[side.trail];
  const others = state.sides.filter((other) => other !== side);
  return make("div", { class: "side", "data-active": String(side === state.active) },
    make("h2", {}, sideName(side)),
    trail ? walkView(side, trail) : make("p", {}, "Nothing was read."),
    trails.length > 1 ? make("label", {}, "Trail ", trailChoice(side)) : null,
    make("h3", {}, "What came back"),
    make("ol", { class: "hits" }, hits.map((hit) => make("li", {},
      opener(hit), make("span", { class: "dim" }, ` ${hit.score.toFixed(2)}`),
      others.map((other) => make("span", { class: "how" }, rankIn(other, hit))),
      [hit.how, ...hit.why].map((line) => make("div", { class: "dim source" }, line))))));
}

function rankIn(side, hit) {
  const rank = side.data.hits.findIndex((other) => keyOf(other) === keyOf(hit));
  return rank < 0 ? ` not with ${sideName(side)}` : ` ${rank + 1}. with ${sideName(side)}`;
}

function trailChoice(side) {
  const select = make("select", {
    onchange: () => { side.trail = Number(select.value); showSide(side, 0); },
  }, side.data.trails.map((trail, at) => make("option", { value: at, selected: at === side.trail },
    `${percent(trail.probability)}: ${trail.hops.map(nameOf).join(" \u2192 ")} \u2192 STOP`)));
  return select;
}

function walkView(side, trail) {
  const last = trail.hops.length;
  const stateOf = (at) => (at === side.step ? "now" : at > side.step ? "later" : "");
  return make("div", { class: "walk-steps" },
    make("div", { class: "row" },
      make("button", { type: "button", class: "previous", disabled: side.step === 0,
        onclick: () => showSide(side, side.step - 1) }, "Previous"),
      make("span", { class: "step" },
        side.step === last ? "STOP" : `hop ${side.step + 1} of ${last}`),
      make("button", { type: "button", class: "next", disabled: side.step === last,
        onclick: () => showSide(side, side.step + 1) }, "Next")),
    make("ol", { class: "plain" },
      trail.hops.map((hop, at) => make("li", { class: `card hop ${stateOf(at)}` },
        make("div", { class: "dim" }, "query: ", queryView(hop.query, side.data.question)),
        make("div", { class: "how" }, hop.how),
        make("div", { class: "name" }, opener(hop)),
        make("div", { class: "text clip dim", dir: "auto" }, hop.text),
        make("div", { class: "dim" }, `${percent(hop.probability)} to read this, ` +
          `${percent(hop.stop_probability)} to stop before it`))),
      make("li", { class: `card stop ${stateOf(last)}` },
        make("span", { class: "name" }, "STOP "), trail.reason,
        make("div", { class: "dim" }, `${percent(trail.stop_probability)} to have enough, ` +
          `${percent(trail.probability)} for the whole trail`))));
}

function queryView(query, question) {
  if (!query.startsWith(question)) return make("bdi", { class: "gain" }, query);
  return make("bdi", {}, question, make("span", { class: "gain" }, query.slice(question.length)));
}

const opener = (one) => make("button", { type: "button", class: "flat", dir: "auto",
  onclick: () => openPassage(one) }, nameOf(one));

// The graph

function showGraph(graph, title) {
  state.graph = graph;
  byId("graph-title").textContent = visible(title);
  const side = state.active && state.active.data.graph === graph ? state.active : null;
  const trail = side ? side.data.trails[side.trail] : null;
  const read = new Map((trail ? trail.hops.slice(0, side.step + 1) : [])
    .map((hop, at) => [keyOf(hop), at + 1]));
  const hits = new Set(side ? side.data.hits.map(keyOf) : []);
  const spots = graph.nodes.map((node) =>
    [EDGE + node.x * (WIDTH - 2 * EDGE - 100), EDGE + node.y * (HEIGHT - 2 * EDGE)]);
  const at = new Map(graph.nodes.map((node, place) => [keyOf(node), place]));
  const path = [...read.keys()].map((key) => at.get(key)).filter((place) => place !== undefined);
  byId("drawing").replaceChildren(
    ...graph.edges.map((edge) => edgeView(edge, graph.nodes, spots)),
    ...path.slice(1).map((place, step) => draw("path", { class: "walk",
      d: `M ${spots[path[step]].join(" ")} L ${spots[place].join(" ")}` })),
    ...graph.nodes.map((node, place) => nodeView(node, spots[place], read.get(keyOf(node)),
      hits.has(keyOf(node)), place === 0)));
  markOpen();
}

function edgeView(edge, nodes, spots) {
  const [[x1, y1], [x2, y2]] = [spots[edge.source], spots[edge.target]];
  return draw("line", { class: ["mentions", "entity"].includes(edge.kind) ? edge.kind : "link",
    x1, y1, x2, y2 }, draw("title", {},
    `${nameOf(nodes[edge.source])} \u2192 ${nameOf(nodes[edge.target])}: ${edge.kind}`));
}

function nodeView(node, [x, y], step, isHit, first) {
  const kind = step ? "read" : isHit ? "hit" : "";
  const role = step ? `, read in hop ${step}` : isHit ? ", came back" : "";
  const group = draw("g", { class: `node ${kind}`, role: "button", tabindex: first ? 0 : -1,
    "aria-label": `${nameOf(node)}, ${node.degree} edges${role}`, "data-key": keyOf(node),
    onclick: () => openPassage(node) },
  draw("circle", { cx: x, cy: y, r: step ? 13 : 8 }),
  step ? draw("text", { class: "number", x, y: y + 5 }, String(step)) : null,
  draw("text", { x: x + 15, y: y + 5 }, shortened(nameOf(node))));
  group.spot = [x, y];
  group.addEventListener("keydown", (event) => nodeKey(event, group, node));
  return group;
}

function nodeKey(event, group, node) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    openPassage(node);
  } else if (ways[event.key]) {
    event.preventDefault();
    focusNode(nearest(group, ways[event.key]) || group);
  }
}

// The nearest in a direction; what lies beside it counts as farther than what lies ahead.
function nearest(group, [wayX, wayY]) {
  let best = null, least = Infinity;
  for (const other of byId("drawing").querySelectorAll(".node")) {
    const [dx, dy] = [other.spot[0] - group.spot[0], other.spot[1] - group.spot[1]];
    const ahead = dx * wayX + dy * wayY;
    const cost = ahead + 2 * Math.abs(dx * wayY + dy * wayX);
    if (other !== group && ahead > 0 && cost < least) [best, least] = [other, cost];
  }
  return best;
}

function focusNode(group) {
  for (const other of byId("drawing").querySelectorAll(".node")) {
    other.setAttribute("tabindex", other === group ? 0 : -1);
  }
  group.focus();
}

function markOpen() {
  for (const group of byId("drawing").querySelectorAll(".node")) {
    const open = state.passage && group.dataset.key === keyOf(state.passage);
    group.setAttribute("aria-current", String(Boolean(open)));
  }
}

const lookAround = guarded(async (passage) => {
  const body = passage ? { id: passage.id, namespace: passage.namespace }
    : { namespace: chosen("namespace") };
  state.active = null;
  showGraph(await call("neighbourhood", body),
    passage ? `Around ${nameOf(passage)}` : "Best joined passages");
});

// One passage

const openPassage = guarded(async (one) => {
  showPassage(await call("passage", { id: one.id, namespace: one.namespace }));
});

function showPassage(passage) {
  state.passage = passage;
  markOpen();
  const facts = [passage.namespace.length ? `in ${passage.namespace.join("/")}` : null,
    passage.source ? `from ${passage.source}` : null,
    `recalled ${passage.recalls} times`, `changed ${passage.updates} times`].filter(Boolean);
  const writing = state.overview.read_only ? [] : [
    button("Edit", () => showEditor(passage)),
    button("Link\u2026", () => showLinking(passage)),
    button("Forget", () => forgetPassage(passage)),
  ];
  byId("passage").replaceChildren(make("div", { class: "card" },
    make("h2", { dir: "auto" }, nameOf(passage)),
    make("p", { class: "dim" }, make("bdi", {}, passage.id), ` ${facts.join(", ")}`),
    make("div", { class: "text clip", dir: "auto", tabindex: 0 }, passage.text),
    Object.keys(passage.metadata).length
      ? make("p", { class: "dim" }, make("code", {}, JSON.stringify(passage.metadata))) : null,
    make("ul", { class: "links" }, passage.links.map((link) => linkView(passage, link))),
    make("div", { class: "row" }, button("Look around", () => lookAround(passage)), writing),
    make("div", { id: "editor" })));
}

const button = (label, onclick) => make("button", { type: "button", onclick }, label);

function linkView(passage, link) {
  const target = { id: link.target, namespace: passage.namespace };
  return make("li", {}, make("bdi", { class: "kind" }, link.kind), " \u2192 ", opener(target), " ",
    state.overview.read_only ? null : button("Unlink", guarded(async () => {
      await change("unlink", { ...target, id: passage.id, target: link.target, kind: link.kind });
    })));
}

function showEditor(passage) {
  const title = make("input", { type: "text", "aria-label": "Title", dir: "auto" });
  const text = make("textarea", { rows: 8, "aria-label": "Text", dir: "auto", required: true });
  title.value = passage ? passage.title || "" : "";
  text.value = passage ? passage.text : "";
  const form = make("form", { class: "edit", onsubmit: guarded(async (event) => {
    event.preventDefault();
    const body = { title: title.value || null, text: text.value };
    if (passage) await change("update", { ...body, ...addressOf(passage) });
    else await change("add", { ...body, namespace: chosen("namespace") });
  }) }, title, text, make("button", { type: "submit" }, "Save"));
  if (passage) byId("editor").replaceChildren(form);
  else byId("passage").replaceChildren(make("div", { class: "card" },
    make("h2", {}, "New passage"), form));
  text.focus();
}

function showLinking(passage) {
  const target = make("input", { type: "text", "aria-label": "Id it leads to", required: true,
    placeholder: "id of a passage" });
  const kind = make("input", { type: "text", "aria-label": "Kind", value: "link", required: true });
  byId("editor").replaceChildren(make("form", { class: "linking", onsubmit: guarded(
    async (event) => {
      event.preventDefault();
      const body = { target: target.value, kind: kind.value };
      await change("link", { ...body, ...addressOf(passage) });
    }) }, target, kind, make("button", { type: "submit" }, "Link")));
  target.focus();
}

const addressOf = (passage) => ({ id: passage.id, namespace: passage.namespace });

async function change(operation, body) {
  showPassage(await call(operation, body));
  await refresh();
}

const forgetPassage = guarded(async (passage) => {
  await call("forget", addressOf(passage));
  state.passage = null;
  byId("passage").replaceChildren(make("p", {}, `Forgot ${nameOf(passage)}.`));
  await refresh();
});

const undoLast = guarded(async () => {
  const { undone } = await call("undo");
  await refresh();
  say(`Taken back: ${undone}`);
  if (state.passage) await openPassage(state.passage);
});

// What a change may have changed: the counts, the list, and a graph that is not a walk's.
async function refresh() {
  await showOverview();
  await showList();
  if (!state.active) await lookAround(null);
}

// Browsing

const showList = guarded(async (after = null) => {
  const words = byId("words").value;
  const page = await call("browse", { words, namespace: chosen("namespace"), after });
  const items = page.passages.map((one) => make("li", {}, opener(one),
    make("div", { class: "dim", dir: "auto" }, one.head.slice(0, 90))));
  if (after) byId("list").append(...items);
  else byId("list").replaceChildren(...items);
  state.after = page.after;
  byId("more").hidden = !page.after;
});

async function showOverview() {
  const overview = await call("overview");
  state.overview = overview;
  byId("memory").textContent = visible(`${overview.name}, ${overview.passages} passages` +
    (overview.read_only ? ", read-only" : ""));
  byId("new").hidden = overview.read_only;
  byId("undo").hidden = overview.read_only;
  showUndo(overview.undo);
}

// Keys: single letters, where nobody types

const KEYS = {
  "/": () => byId("question").focus(),
  b: () => byId("words").focus(),
  g: () => { const node = byId("drawing").querySelector(".node[tabindex='0']"); if (node) node.focus(); },
  n: () => state.active && showSide(state.active, state.active.step + 1),
  p: () => state.active && showSide(state.active, state.active.step - 1),
  e: () => state.passage && !state.overview.read_only && showEditor(state.passage),
  l: () => state.passage && !state.overview.read_only && showLinking(state.passage),
  u: () => !byId("undo").disabled && undoLast(),
  Delete: () => state.passage && !state.overview.read_only && forgetPassage(state.passage),
  "?": () => byId("help").showModal(),
};

function handleKey(event) {
  const typing = event.target.closest("input, textarea, select, dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
}

const start = guarded(async () => {
  await showOverview();
  const { efforts, policies, namespaces, namespace } = state.overview;
  for (const id of ["effort", "effort-beside"]) options(byId(id), efforts);
  for (const id of ["policy", "policy-beside"]) {
    options(byId(id), policies, (name) => name || "the memory's own");
  }
  byId("effort").value = JSON.stringify("balanced");
  for (const label of document.querySelectorAll(".policies")) label.hidden = policies.length < 2;
  const inside = namespaces.filter((one) => one.length > namespace.length);
  options(byId("namespace"), [[], ...inside], (parts) => parts.join("/") || "all");
  await showList();
  await lookAround(null);
});

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); askQuestion(); });
byId("browse").addEventListener("submit", (event) => { event.preventDefault(); showList(); });
byId("words").addEventListener("search", () => showList());
byId("namespace").addEventListener("change", () => { showList(); lookAround(null); });
byId("more").addEventListener("click", () => showList(state.after));
byId("new").addEventListener("click", () => showEditor(null));
byId("best").addEventListener("click", () => lookAround(null));
byId("undo").addEventListener("click", () => undoLast());
byId("keys").addEventListener("click", () => byId("help").showModal());
document.addEventListener("keydown", handleKey);
start();
