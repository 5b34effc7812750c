// Several recordings: a training's curves and confusion matrix, whose cells show their recordings.

import { lines } from "./charts.js";

const $ = (id) => document.getElementById(id);
const ASK_MS = 1000;
const FIGURES = [ // canvas, curves of it with their names on the page
  ["loss", { "train/loss": "learned", "val/loss": "held out" }],
  ["score", { "val/accuracy": "held out", "val/mAP@.50": "mAP@.50", "val/mAP": "mAP" }],
  ["rate", { learning_rate: "" }],
];

export class Shelf {
  // opened: is told of a recording that was chosen; problem: of a sentence.
  constructor(about, wire, look, opened, problem) {
    Object.assign(this, { about, wire, look, opened, problem, state: { version: -1 }, cell: null, shown: null });
    document.body.classList.add("unopened");
    this.ask();
  }

  async ask() {
    const state = await this.wire.ask({ op: "state", seen: this.state.version });
    if (state && !state.error && state.version !== this.state.version) {
      this.state = state;
      this.show();
    }
    if (this.wire.socket.readyState <= 1) setTimeout(() => this.ask(), ASK_MS);
  }

  show() {
    const { state } = this;
    if (state.checks) return this.checks(state);
    this.problem(state.problem || (state.begun ? "" : "has not begun yet"), !state.problem);
    if (!state.begun) return;
    $("run-step").textContent = `step ${state.step.toLocaleString()} of ${state.steps.toLocaleString()}`;
    this.draw();
    if (state.confusion) this.confusion(state);
    else if (state.precision.length) this.precision(state);
  }

  // Of a check: each recording with its verdict. The first is opened as it comes.
  checks({ checks, board, of }) {
    const passed = checks.filter((one) => one.passed).length;
    $("list-title").textContent = `${board} against the host`;
    this.list(checks, (one) => `${one.passed ? "✓" : "✗"} ${one.name} · ${one.host === one.device ? one.host : `${one.host} / ${one.device}`}`);
    $("list-note").textContent = `${passed} of ${checks.length} passed` + (checks.length < of ? `, ${of - checks.length} to come` : "");
    if (this.shown === null && checks.length) this.choose(0);
  }

  draw() {
    const { curves } = this.state;
    if (!curves) return; // nothing yet, or a check
    $("curves-panel").hidden = false;
    $("score-title").textContent = "val/mAP" in curves ? "Precision" : "Accuracy";
    for (const [id, names] of FIGURES) {
      const there = Object.entries(names).filter(([name]) => curves[name]?.steps.length);
      lines($(id), there.map(([name], number) => ({ ...curves[name], number })), this.look);
      $(`${id}-now`).textContent = there.map(([name, title]) => `${title} ${rounded(curves[name].values.at(-1))}`.trim()).join(" · ");
    }
  }

  head(title, note) {
    $("matrix-panel").hidden = false;
    $("matrix-title").textContent = title;
    $("matrix-note").textContent = note;
  }

  confusion({ labels, confusion, looked }) {
    const total = confusion.flat().reduce((a, b) => a + b, 0);
    const right = confusion.reduce((sum, row, i) => sum + row[i], 0);
    this.head("Taken for", `${right} of ${total} right at step ${looked.toLocaleString()}; a row for each class`);
    const rows = confusion.map((row, label) => {
      const all = row.reduce((a, b) => a + b, 0);
      return [head(labels[label], "row"), ...row.map((count, said) => {
        const cell = document.createElement("td");
        if (count) cell.append(this.button(count, { label, said }, count / all));
        return cell;
      })];
    });
    this.fill([head("", "col"), ...labels.map((label) => head(label, "col"))], rows);
  }

  button(count, cell, share) {
    const { label, said } = cell;
    const button = Object.assign(document.createElement("button"), { textContent: count });
    button.style.setProperty("--share", share);
    button.style.setProperty("--tone", label === said ? "var(--good)" : "var(--bad)");
    button.dataset.cell = `${label} ${said}`;
    button.setAttribute("aria-label", `${count} of ${this.state.labels[label]} taken for ${this.state.labels[said]}`);
    button.setAttribute("aria-pressed", this.cell?.label === label && this.cell?.said === said);
    button.addEventListener("click", () => this.open(cell));
    return button;
  }

  precision({ precision, looked }) {
    this.head("Average precision", `at step ${looked.toLocaleString()}`);
    const plain = (value) => Object.assign(document.createElement("td"), { className: "plain", textContent: value.toFixed(3) });
    this.fill(["", "mAP", "mAP@.50"].map((name) => head(name, "col")),
      precision.map(([label, all, half]) => [head(label, "row"), plain(all), plain(half)]));
  }

  fill(titles, rows) { // whoever has the focus keeps it
    const line = (cells) => { const row = document.createElement("tr"); row.append(...cells); return row; };
    const focused = document.activeElement?.dataset?.cell;
    const [top, body] = [document.createElement("thead"), document.createElement("tbody")];
    top.append(line(titles));
    body.append(...rows.map(line));
    $("matrix").replaceChildren(top, body);
    if (focused) $("matrix").querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  // The recordings of a cell, and the first of them.
  async open(cell) {
    const { labels } = this.state;
    const answer = await this.wire.ask({ op: "list", ...cell });
    if (!answer?.recordings) return;
    this.cell = cell;
    this.confusion(this.state);
    const { label, said } = cell;
    $("list-title").textContent = label === said ? labels[label] : `${labels[label]} taken for ${labels[said]}`;
    this.list(answer.recordings, ({ name, share }) => `${name} ${Math.round(100 * share)}%`);
    if (answer.recordings.length) await this.choose(answer.recordings[0].number);
  }

  list(recordings, title) {
    $("list-panel").hidden = false;
    $("list").replaceChildren(...recordings.map((one) => {
      const button = Object.assign(document.createElement("button"), { textContent: title(one) });
      button.dataset.number = one.number;
      if (one.problem) button.title = one.problem;
      if ("passed" in one) button.className = one.passed ? "good" : "bad";
      button.setAttribute("aria-pressed", one.number === this.shown);
      button.addEventListener("click", () => this.choose(one.number));
      return button;
    }));
  }

  async choose(number) {
    const answer = await this.wire.ask({ op: "show", number });
    if (!answer) return;
    this.problem(answer.error ?? "", !answer.error);
    if (answer.error) return;
    this.shown = number;
    for (const button of $("list").children) button.setAttribute("aria-pressed", Number(button.dataset.number) === number);
    document.body.classList.remove("unopened");
    await this.opened(answer.about);
  }
}

function head(text, scope) { return Object.assign(document.createElement("th"), { textContent: text, scope }); }

function rounded(value) { return Math.abs(value) >= 0.01 ? value.toFixed(3) : value.toExponential(1); }
