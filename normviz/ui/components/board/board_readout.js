// The readout below the charts: the values of the cell under the pointer, the formula with these values, the table.

import { isTouch } from "./board_layout.js";
import { decode, format, valueAt } from "./board_numbers.js";
import { placeAt } from "./board_pointer.js";

const LIT = { x: ["before"], y: ["after"], mu: ["cube", "bars"], var: ["cube", "bars"] }; // term -> panels
const TERMS = { before: ["x"], after: ["y"], cube: ["mu", "var"], table: ["mu", "var"] }; // panel -> terms

export function make(tag, className, parent, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

export class Readout {
  constructor(board) {
    this.board = board;
  }

  /** A group's name; empty for cells without a group. */
  label(group) {
    if (group === null || group === undefined) return "";
    return this.table?.labels[this.table.ids.indexOf(group)] ?? `statistic ${group}`;
  }

  /** Whether a group has a statistic: always, unless a complete table does not list it. */
  counts(group) {
    return !this.table || this.table.ids.length < this.table.total || this.table.ids.includes(group);
  }

  /** Create missing elements and fill the table. */
  build(spec) {
    this.spec = spec;
    if (!spec) {
      for (const element of [this.section, this.tableBox]) element?.remove();
      this.section = this.tableBox = this.table = this.line = null;
      return;
    }
    if (!this.section) {
      this.section = make("section", "nv-readout");
      this.heading = make("p", "nv-heading", this.section);
      this.line = make("p", "nv-line", this.section);
      this.formula = make("div", "nv-formula", this.section);
      this.formula.addEventListener("pointerover", (event) => this.term(event.target.closest("[data-term]")));
      this.formula.addEventListener("pointerleave", () => this.term(null));
    }
    if (spec.statistics && !this.tableBox) {
      this.tableBox = make("section", "nv-panel nv-statistics");
      this.tableTitle = make("h3", "nv-title", this.tableBox);
      const scroll = make("div", "nv-scroll", this.tableBox);
      scroll.tabIndex = 0;
      const table = make("table", "nv-table", scroll);
      table.innerHTML = `<thead><tr><th scope="col" rowspan="2" aria-label="statistic"></th><th scope="colgroup" colspan="2">mean</th>
        <th scope="colgroup" colspan="2">std</th></tr><tr>${"<th scope=col>before</th><th scope=col>after</th>".repeat(2)}</tr></thead>`;
      this.rows = make("tbody", "", table);
      this.rows.addEventListener("pointerover", (event) => this.board.point(this.place(event.target.closest("tr"))));
      this.rows.addEventListener("pointerleave", () => this.board.point(null));
      this.rows.addEventListener("click", (event) => this.board.toggle(this.place(event.target.closest("tr"))));
      scroll.addEventListener("keydown", (event) => this.key(event));
      scroll.addEventListener("blur", () => this.board.point(null));
    }
    if (!spec.statistics) this.tableBox = this.tableBox?.remove() ?? null;
    this.board.root.append(this.section);
    if (this.tableBox) this.board.root.append(this.tableBox);
    this.heading.textContent = spec.title;
    this.heading.hidden = !spec.title;
    if (this.template !== spec.symbols + spec.numbers) {
      this.template = spec.symbols + spec.numbers;
      this.formula.innerHTML = this.template;
    }
    this.fillTable(spec.statistics);
  }

  /** The place of a group: a row of the table or a term of the formula. */
  placeOf(group, role) {
    return { group, role, label: this.label(group), row: -1, column: -1 };
  }

  place(row) {
    return this.placeOf(Number(row.dataset.group), "table");
  }

  /** Arrow keys move through the rows of the table, Enter pins one. */
  key(event) {
    const { hover } = this.board, rows = [...this.rows.children], step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const at = hover?.role === "table" ? rows.findIndex((row) => Number(row.dataset.group) === hover.group) : -1;
    if (!step && !(event.key === "Enter" && at >= 0)) return;
    event.preventDefault();
    if (!step) return void this.board.toggle(hover, true);
    const row = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
    row.scrollIntoView({ block: "nearest" });
    this.board.point(this.place(row), true);
  }

  fillTable(spec) {
    this.table = null;
    if (!spec) return;
    this.table = { ids: Array.from(decode(spec.ids)), labels: spec.labels, total: spec.total };
    for (const name of ["mean_before", "std_before", "mean_after", "std_after", "center", "spread"]) {
      if (spec[name]) this.table[name] = decode(spec[name]);
    }
    const { ids, labels } = this.table, shown = Math.min(ids.length, 64);
    this.tableTitle.textContent =
      shown < spec.total ? `Mean and standard deviation, ${shown} of ${spec.total} statistics` : "Mean and standard deviation";
    while (this.rows.children.length > shown) this.rows.lastChild.remove();
    for (let k = 0; k < shown; k++) {
      const row = this.rows.children[k] ?? make("tr", "", this.rows);
      if (!row.children.length) {
        make("th", "", row).scope = "row";
        for (let column = 0; column < 4; column++) make("td", "", row);
      }
      row.dataset.group = ids[k];
      const color = this.board.data.colors[this.colorOf(ids[k])];
      row.children[0].textContent = labels[k];
      row.children[0].style.setProperty("--nv-color", color);
      ["mean_before", "mean_after", "std_before", "std_after"].forEach((name, column) => {
        const value = this.table[name][k], spread = this.table[name.replace("mean", "std")][k];
        const rounding = name.startsWith("mean") && value !== 0 && Math.abs(value) < 1e-4 * spread; // float32 rounding
        row.children[column + 1].textContent = rounding ? "≈ 0" : format(value);
        row.children[column + 1].title = rounding ? format(value) : "";
      });
    }
  }

  colorOf(group) {
    for (const { link } of this.board.panels.values()) {
      if (!link.colors) continue;
      const at = decode(link.ids).indexOf(group);
      if (at >= 0) return decode(link.colors)[at];
    }
    return group % (this.board.data.colors.length - 1); // the last color is that of padding
  }

  /** Highlight a term of the formula and the panels that it comes from. */
  term(element) {
    const name = element?.dataset.term;
    const roles = LIT[name] ?? [];
    for (const panel of this.board.panels.values()) {
      const role = panel.link.kind === "bars" ? "bars" : panel.link.role;
      panel.element.classList.toggle("nv-lit", roles.includes(role));
    }
    const group = ["mu", "var"].includes(name) ? (this.shown?.group ?? null) : null;
    const cell = ["x", "y"].includes(name) ? this.shown?.cell : undefined;
    const slice = this.board.find(name === "y" ? "after" : "before");
    if (cell && slice) this.board.point(placeAt(this.board, slice, slice.faces[0], cell.row, cell.column));
    else this.board.point(group === null ? null : this.placeOf(group, "term"));
    this.light(name ? [name] : []);
  }

  light(terms) {
    for (const element of this.formula?.querySelectorAll("[data-term]") ?? []) {
      element.classList.toggle("nv-lit", terms.includes(element.dataset.term));
    }
  }

  /** Fill in the values of the cell under the pointer, the pinned cell or the last one. */
  fill() {
    const { spec, board } = this;
    if (!spec || !this.section) return;
    const [before, after, map] = ["before", "after", "map"].map((role) => board.find(role));
    const grid = (spec.kind === "map" ? map : before)?.faces[0];
    if (!grid) return;
    const { active } = board, chosen = [active, board.pin].find((place) => place?.space) ?? board.cell;
    let cell = chosen ?? { row: Math.floor(grid.rows / 2), column: Math.floor(grid.columns / 2) };
    if (cell.row >= grid.rows || cell.column >= grid.columns) cell = { row: 0, column: 0 };
    if (spec.kind === "map") return this.fillMap(spec, map, grid, cell);
    const own = placeAt(board, before, grid, cell.row, cell.column);
    const there = !active || Boolean(active.space) || (!active.padded && board.group === own.group);
    const group = there ? own.group : board.group;
    this.shown = { group, cell };
    const index = this.table ? this.table.ids.indexOf(group) : -1;
    const column = (name) => (index >= 0 && this.table[name] ? this.table[name][index] : undefined);
    const broadcast = (name) => {
      const values = spec[name];
      if (typeof values === "number") return values;
      values.decoded ??= decode(values);
      const [rows, columns] = values.shape;
      return values.decoded[(rows > 1 ? cell.row : 0) * columns + (columns > 1 ? cell.column : 0)];
    };
    const known = there && !own.padded;
    const numbers = {
      x: known ? valueAt(before, cell.row, cell.column) : null,
      y: known ? valueAt(after, cell.row, cell.column) : null,
      mu: column("center") ?? column("mean_before"),
      var: column("spread") ?? column("std_before") ** 2,
      eps: spec.eps, gamma: broadcast("gamma"), beta: broadcast("beta"),
    };
    for (const place of this.formula.querySelectorAll("mn[data-term]")) {
      const name = place.dataset.term, value = numbers[name];
      const text = value === null ? name : format(value);
      place.textContent = text.startsWith("−") && !["x", "y", "gamma"].includes(name) ? `(${text})` : text;
    }
    const [rowName, columnName] = before.link.axes, padded = active?.padded ? active : there && own.padded && own;
    if (this.formula.lastElementChild) this.formula.lastElementChild.style.visibility = padded ? "hidden" : "";
    const where = there ? `${rowName} ${cell.row}, ${columnName} ${cell.column}` : "";
    const what = padded ? padded.panel.link.said : this.label(group);
    this.line.textContent = [where, what].filter(Boolean).join(": ");
    if (group === null) this.line.style.removeProperty("--nv-color");
    else this.line.style.setProperty("--nv-color", board.data.colors[this.colorOf(group)]);
    this.notePin();
    for (const row of this.rows?.children ?? []) {
      row.classList.toggle("nv-lit", active !== null && Number(row.dataset.group) === board.group);
    }
    this.light(TERMS[active?.role] ?? []);
  }

  /** Append that the place is pinned and how to release it. */
  notePin() {
    const how = isTouch() ? "tap it again" : "click it again or press Escape";
    if (this.board.holds(this.board.active)) make("span", "nv-pinned", this.line, `pinned: ${how} to release it`);
  }

  fillMap(spec, map, grid, cell) {
    const value = valueAt(map, cell.row, cell.column), total = map.link.evidence;
    const share = total > 0 ? `${((100 * Math.max(value, 0)) / total).toFixed(1)}%` : "none";
    this.line.replaceChildren();
    make("span", "", this.line, `Cell (${cell.row}, ${cell.column}) of ${grid.rows} × ${grid.columns}`);
    const whole = map.link.sum; // for a sum decomposed into cells: the total, including parts without a cell
    if (whole === undefined) {
      make("strong", "", this.line, `${format(value)} ${spec.unit}`.trim());
      make("span", "", this.line, `${share} of all positive evidence`);
    } else {
      make("strong", "", this.line, `${value > 0 ? "+" : ""}${format(value)} of ${format(whole)} ${spec.unit}`.trim());
    }
    this.notePin();
  }
}
