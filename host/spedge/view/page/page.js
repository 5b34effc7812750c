// The page: a clock for recordings, panels, keys. It asks for a frame, shows it, and asks for the next.

import { Wire } from "./wire.js";
import { Field } from "./field.js";
import * as charts from "./charts.js";
import { Shelf } from "./shelf.js";

const $ = (id) => document.getElementById(id);
const FRAME_US = 40_000; // a step of the arrow keys at speed 1
const LIVE_MS = 25; // between two frames of what happens now: more cost the server and are not seen
const SLIDERS = [ // name, title, unit, from position 0..1000 to a number and back
  ["threshold", "Threshold", "", (p) => Math.round(2 ** (p / 100)), (v) => 100 * Math.log2(v)],
  ["patch_size", "Patch size", "px", (p) => Math.round(2 ** (1 + p / 167)), (v) => 167 * (Math.log2(v) - 1)],
  ["absolute_refractory_us", "Absolute refractory", "µs", fromMicros, toMicros],
  ["relative_refractory_us", "Relative refractory", "µs", fromMicros, toMicros],
  ["relative_scale", "Relative scale", "", (p) => Math.round(Math.min(Math.max(p, 10), 990) / 10) / 100, (v) => 1000 * v],
  ["decay_per_us", "Decay per µs", "", (p) => p ? Number((10 ** (p / 200 - 6)).toPrecision(2)) : 0, (v) => v ? 200 * (Math.log10(v) + 6) : 0],
];
function fromMicros(p) { return p ? Math.round(10 ** (p / 167)) : 0; }
function toMicros(v) { return v ? 167 * Math.log10(v) : 0; }

const look = { colour: (n) => look.css[n], whole: (n) => look.css[n + look.steps - 1],
  line: (n) => look.css[look.line0 + look.steps * (n % look.lines) + look.steps - 1] };
const view = { t: 0, playing: false, part: null, chosen: null, frame: null, series: null, version: -1, frames: 0, about: null };
const plain = new URLSearchParams(location.search).has("canvas");
const field = new Field($("events"), { plain });
const wire = new Wire((text, good) => {
  $("state").textContent = text;
  $("state").classList.toggle("bad", !good);
});
Object.assign(window, { view, field }); // for tests, and for who looks

// ---------------------------------------------------------------- colours
function theme(name) {
  document.documentElement.dataset.theme = name;
  const table = Uint8Array.from(look.themes[name].match(/../g), (digits) => parseInt(digits, 16));
  look.css = Array.from({ length: 256 }, (_, i) => `rgb(${table[3 * i]} ${table[3 * i + 1]} ${table[3 * i + 2]})`);
  const root = document.documentElement.style;
  for (const plainName of ["page", "panel", "edge"]) root.setProperty(`--${plainName}`, look.colour(look[plainName]));
  for (const ramp of ["ink", "faint", "good", "bad"]) root.setProperty(`--${ramp}`, look.whole(look[ramp]));
  root.setProperty("--accent", look.line(0));
  field.colours(table);
  view.shelf?.draw();
  show();
  classes();
}

// ---------------------------------------------------------------- frames
async function loop() {
  let then = performance.now();
  for (;;) {
    const now = performance.now();
    if (!view.about) {
      await new Promise((next) => setTimeout(next, 50));
      continue;
    }
    if (view.playing) {
      view.t = Math.min(view.t + (now - then) * 1000 * Number($("speed").value), view.about.last);
      if (view.t >= view.about.last) play(false);
    }
    then = now;
    const asked = view.about;
    const wanted = view.about.live ? null : Math.round(view.t);
    if (view.about.live || wanted !== view.frame?.t || view.stale) {
      view.stale = false;
      const frame = await wire.ask({ op: "frame", t: wanted, fade: fade(), seen: view.version });
      if (frame?.error) problem(frame.error);
      else if (frame && asked === view.about) {
        view.frame = frame;
        view.frames++;
        if (view.about.live) Object.assign(view, { t: frame.t }).about.first = frame.first;
        if (frame.version !== view.version) told(await wire.ask({ op: "series" }));
        show();
      }
      if (wire.socket.readyState > 1) return;
    }
    const rest = document.hidden ? 250 : view.about?.live ? LIVE_MS - (performance.now() - now) : 0;
    await new Promise(rest > 0 ? (next) => setTimeout(next, rest) : requestAnimationFrame);
  }
}

function show() {
  const { frame, about, part } = view;
  if (!frame) return;
  field.part = part;
  field.draw(frame.events);
  const size = view.series?.patch_size ?? 16;
  charts.patches($("tokens"), frame.tokens, size, about, part, view.chosen, look);
  charts.boxes($("over"), frame.boxes, about, part, view.series?.names ?? view.series?.labels ?? [], look);
  $("time").textContent = `${((frame.t - about.first) / 1e6).toFixed(3)} s`;
  $("event-count").textContent = `${frame.event_count.toLocaleString()} in ${(fade() / 1000).toLocaleString()} ms` +
    (part ? ` · crop ${part.width}×${part.height} at ${part.x},${part.y}` : "") + (frame.note ? ` · ${frame.note}` : "");
  $("token-count").textContent = `${frame.token_count.toLocaleString()} in ${(fade() * about.token_fades / 1000).toLocaleString()} ms`;
  $("zoom").hidden = !part;
  if (!about.live) {
    const share = (frame.t - about.first) / Math.max(about.last - about.first, 1);
    charts.rates($("rates"), about.rates, share, look);
    $("scrub").value = Math.round(frame.t - about.first);
    $("scrub").setAttribute("aria-valuetext", $("time").textContent);
  }
  model();
}

function fade() { return Number((1000 * 10 ** (3.4 * Number($("fade").value) / 100)).toPrecision(2)); } // 1 ms to 2.5 s

function problem(text, good = false) {
  $("state").textContent = text;
  $("state").classList.toggle("bad", !good);
}

// ---------------------------------------------------------------- what the models say
function told(series, about = view.about) {
  if (!series || series.error) return;
  view.series = series;
  view.version = series.version;
  if (series.problem) problem(series.problem);
  for (const [name, , unit, , back] of SLIDERS) {
    const slider = $(`slider-${name}`);
    if (!slider) continue;
    if (document.activeElement !== slider) slider.value = back(series.settings[name]);
    $(`value-${name}`).textContent = `${series.settings[name].toLocaleString(undefined, { maximumSignificantDigits: 4 })} ${unit}`;
  }
  $("reset").hidden = series.own ?? true;
  $("tokenizer-note").classList.remove("bad");
  $("tokenizer-note").textContent = `${series.tokens.toLocaleString()} tokens` +
    (about.model && series.own === false ? "; the model saw those of its own tokenizer" : "");
  const { boxes_verdict: judged, boxes_of: device } = series;
  $("boxes-verdict").className = `verdict ${judged ? (judged.equal ? "good" : "bad") : "plain"}`;
  $("boxes-verdict").textContent = !device ? "" : !judged ? `boxes of ${device}` :
    `${device} ${judged.equal ? "equals" : "DIFFERS FROM"} the host: ${judged.problem || `${judged.compared} of ${judged.of} steps`}`;
  classes();
}

function classes() {
  const labels = view.series?.labels;
  $("model-panel").hidden = !labels;
  if (!labels || $("classes").dataset.labels === labels.join("\n")) return;
  $("classes").dataset.labels = labels.join("\n");
  $("classes").replaceChildren(...labels.map((label) => {
    const row = document.createElement("div");
    row.className = "class";
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = label;
    const bars = document.createElement("span");
    bars.className = "bars";
    for (let i = 0; i < 2; i++) {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      bar.append(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
      bar.firstChild.setAttribute("height", "6");
      bars.append(bar);
    }
    row.append(name, bars, document.createElement("output"));
    return row;
  }));
}

function shares(series, t) { // softmax of the newest result at that time
  if (!series) return null;
  let at = series.t.length - 1;
  while (at >= 0 && series.t[at] > t) at--;
  if (at < 0) return null;
  const powers = series.logits[at].map((value) => Math.exp(value - Math.max(...series.logits[at])));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function model() {
  const { series, frame, about } = view;
  if (!series?.labels) return;
  const [host, device] = [shares(series.host, frame.t), shares(series.device, frame.t)];
  const leads = host ?? device;
  const best = leads ? leads.indexOf(Math.max(...leads)) : -1;
  [...$("classes").children].forEach((row, number) => {
    row.classList.toggle("best", number === best);
    [host, device].forEach((shown, i) => {
      const bar = row.children[1].children[i];
      bar.style.display = (i ? series.device?.t.length : series.host) ? "block" : "none";
      bar.firstChild.setAttribute("width", `${shown ? 100 * shown[number] : 0}%`);
      bar.firstChild.setAttribute("fill", look.line(number));
      bar.firstChild.setAttribute("opacity", i ? 0.6 : 1);
    });
    row.children[2].textContent = leads ? `${(100 * leads[number]).toFixed(1)}%` : "";
  });
  const curves = [series.host, series.device && { ...series.device, device: true }].filter((one) => one?.t.length);
  const range = about.live ? [Math.min(...curves.map((one) => one.t[0])), frame.t] : [about.first, about.last];
  charts.logits($("logits"), curves, range, frame.t, look);
  const { verdict } = series;
  const name = series.device?.name || "the device";
  $("verdict").className = `verdict ${verdict ? (verdict.equal ? "good" : "bad") : "plain"}`;
  $("verdict").textContent = verdict
    ? `${name} ${verdict.equal ? "equals" : "DIFFERS FROM"} the host: ${verdict.problem || `${verdict.compared} of ${verdict.of} results, largest Δ ${verdict.largest?.toExponential(1)}`}`
    : (series.note ?? (series.device?.t.length ? `from ${name}` : "computed on this machine"));
}

// ---------------------------------------------------------------- doing
function play(on = !view.playing) {
  if (!view.about) return;
  if (on && view.t >= view.about.last) view.t = view.about.first;
  view.playing = on;
  $("play").textContent = on ? "⏸" : "▶";
}

function seek(t) {
  if (!view.about) return;
  view.t = Math.min(Math.max(t, view.about.first), view.about.last);
}

async function step(what, back) {
  if (!view.about) return;
  play(false);
  if (what === "frame") return seek(view.t + (back ? -1 : 1) * FRAME_US * Number($("speed").value));
  const answer = await wire.ask({ op: "step", what, back, t: Math.round(view.t) });
  if (answer?.t != null) seek(answer.t);
}

function speed(change) {
  const choice = $("speed");
  choice.selectedIndex = Math.min(Math.max(choice.selectedIndex + change, 0), choice.options.length - 1);
}

function zoom(part) {
  if (!view.about) return;
  view.part = part;
  const { width, height } = part ?? view.about;
  for (const one of document.querySelectorAll(".field")) one.style.aspectRatio = `${width} / ${height}`;
  show();
}

async function change(name, value) {
  const series = await wire.ask({ op: "tokenizer", settings: { [name]: value } }, `tokenizer ${name}`);
  if (series?.error) {
    $("tokenizer-note").textContent = series.error;
    $("tokenizer-note").classList.add("bad");
  } else if (series) {
    told(series);
    view.chosen = null;
    view.stale = true;
  }
}

function place(event) { // in the sensor's pixels
  const box = event.currentTarget.getBoundingClientRect();
  const part = view.part ?? { x: 0, y: 0, ...view.about };
  const inside = (value, most) => Math.min(Math.max(value, 0), most - 1e-6);
  return {
    x: part.x + inside((event.clientX - box.left) / box.width, 1) * part.width,
    y: part.y + inside((event.clientY - box.top) / box.height, 1) * part.height,
  };
}

async function choose(column, row) {
  view.chosen = { x: column, y: row };
  show();
  const answer = await wire.ask({ op: "token", column, row, t: Math.round(view.t) });
  if (!answer || answer.error) return;
  const { token } = answer;
  $("token-name").textContent = token ? `column ${column}, row ${row}` : `column ${column}, row ${row} has fired none yet`;
  const facts = token ? {
    fired: `${((token.t - view.about.first) / 1e6).toFixed(6)} s`, events: `${token.events} (${token.on} on)`,
    "lasted": `${(token.span / 1000).toLocaleString()} ms`, number: token.index,
  } : {};
  $("token-facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    const [term, fact] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, fact.textContent] = [name, value];
    return [term, fact];
  }));
  $("volume").hidden = !token;
  if (token) charts.volume($("volume"), token.volume, look);
}

function sliders() {
  $("sliders").replaceChildren(...SLIDERS.map(([name, title, , from]) => {
    const label = document.createElement("label");
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1000, id: `slider-${name}` });
    const value = Object.assign(document.createElement("output"), { id: `value-${name}` });
    slider.addEventListener("input", () => change(name, from(Number(slider.value))));
    label.append(title, slider, value);
    return label;
  }));
  $("reset").addEventListener("click", async () => {
    told(await wire.ask({ op: "tokenizer" }));
    view.stale = true;
  });
}

function listen() {
  $("play").addEventListener("click", () => play());
  $("back").addEventListener("click", () => step("frame", true));
  $("on").addEventListener("click", () => step("frame", false));
  $("scrub").addEventListener("input", () => { play(false); seek(view.about.first + Number($("scrub").value)); });
  const faded = () => { $("fade-value").textContent = `${(fade() / 1000).toLocaleString(undefined, { maximumSignificantDigits: 3 })} ms`; view.stale = true; };
  $("fade").addEventListener("input", faded);
  faded();
  $("zoom").addEventListener("click", () => zoom(null));
  $("theme").addEventListener("click", swap);
  $("help").addEventListener("click", () => $("keys").showModal());
  let begun = null;
  $("events").addEventListener("pointerdown", (event) => { begun = place(event); event.currentTarget.setPointerCapture(event.pointerId); });
  $("events").addEventListener("pointerup", (event) => {
    const ended = place(event);
    if (begun && Math.min(Math.abs(begun.x - ended.x), Math.abs(begun.y - ended.y)) >= 4) {
      const [x, y] = [Math.floor(Math.min(begun.x, ended.x)), Math.floor(Math.min(begun.y, ended.y))];
      zoom({ x, y, width: Math.ceil(Math.max(begun.x, ended.x)) - x, height: Math.ceil(Math.max(begun.y, ended.y)) - y });
    }
    begun = null;
  });
  $("tokens").addEventListener("click", (event) => {
    const { x, y } = place(event);
    const size = view.series?.patch_size ?? 16;
    choose(Math.floor(x / size), Math.floor(y / size));
  });
  $("tokens").addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || !view.frame) return;
    event.preventDefault();
    event.stopPropagation();
    const { columns, rows } = view.frame.tokens;
    const at = view.chosen ?? { x: 0, y: 0 };
    choose(Math.min(Math.max(at.x + move[0], 0), columns - 1), Math.min(Math.max(at.y + move[1], 0), rows - 1));
  });
  document.addEventListener("keydown", key);
  window.addEventListener("resize", show);
}

function labels(keys) {
  view.keys = Object.fromEntries(keys.map(([key], number) => [key, number]));
  $("label-panel").hidden = !keys.length;
  $("label-keys").replaceChildren(...keys.map(([key, label], number) => {
    const button = Object.assign(document.createElement("button"), { textContent: `${key} · ${label}` });
    button.addEventListener("click", () => keep(number));
    return button;
  }));
}

async function keep(number) {
  const answer = await wire.ask({ op: "label", number }, `label ${performance.now()}`); // none takes another's place
  if (answer) $("label-note").textContent = answer.error ?? `kept ${answer.kept}`;
}

function swap() { theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); }

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (event.target.matches("select, input[type=range]:not(#scrub)") && event.key.startsWith("Arrow")) return;
  if (event.target.matches("button, select") && event.key === " ") return;
  const label = event.repeat ? undefined : view.keys?.[event.key.toLowerCase()];
  const does = label !== undefined ? () => keep(label) : {
    " ": () => play(), ArrowLeft: () => step(event.shiftKey ? "token" : "frame", true),
    ArrowRight: () => step(event.shiftKey ? "token" : "frame", false), ",": () => step("result", true),
    ".": () => step("result", false), "-": () => speed(-1), "+": () => speed(1), "=": () => speed(1),
    Home: () => seek(-Infinity), End: () => seek(Infinity), Escape: () => zoom(null),
    d: swap, D: swap, "?": () => $("keys").showModal(),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
}

// ---------------------------------------------------------------- beginning
async function begin() {
  const about = await (await fetch("about")).json();
  Object.assign(look, about.palette, { line0: about.palette.line, line: look.line });
  $("name").textContent = document.title = about.name;
  sliders();
  listen();
  if (about.shelf) view.shelf = new Shelf(about, wire, look, opened, problem);
  else await opened(about);
  theme(matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  loop();
}

async function opened(about) { // in the place of what was shown before
  play(false);
  Object.assign(view, { about: null, frame: null, series: null, version: -1, chosen: null, playing: false });
  told(await wire.ask({ op: "series" }), about);
  Object.assign(view, { about, t: about.first });
  document.body.classList.toggle("live", about.live);
  labels(about.keys ?? []);
  $("scrub").max = about.last - about.first;
  $("time").title = about.name;
  zoom(null);
  play(!about.live && !new URLSearchParams(location.search).has("still"));
}

begin();
