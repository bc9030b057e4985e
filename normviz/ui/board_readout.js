// The readout below the charts: the numbers of the cell under the pointer, the formula with them, the table.

import { decode, format, groupAt, valueAt } from "./board_numbers.js";

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

  label(group) {
    const table = this.table;
    const at = table ? table.ids.indexOf(group) : -1;
    return at >= 0 && table.labels[at] ? table.labels[at] : `statistic ${group}`;
  }

  /** Make the elements that are missing and fill the table. */
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
      this.rows.addEventListener("pointerover", (event) => {
        const row = event.target.closest("tr");
        if (row) this.board.point({ group: Number(row.dataset.group), role: "table", row: -1, column: -1 });
      });
      this.rows.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.board.point(null));
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

  fillTable(spec) {
    this.table = null;
    if (!spec) return;
    this.table = { ids: Array.from(decode(spec.ids)), labels: spec.labels };
    for (const name of ["mean_before", "std_before", "mean_after", "std_after", "centre", "spread"]) {
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
      const colour = this.board.data.colours[this.colourOf(ids[k])];
      row.children[0].textContent = labels[k];
      row.children[0].style.setProperty("--nv-colour", colour);
      ["mean_before", "mean_after", "std_before", "std_after"].forEach((name, column) => {
        const value = this.table[name][k], spread = this.table[name.replace("mean", "std")][k];
        const rounding = name.startsWith("mean") && value !== 0 && Math.abs(value) < 1e-4 * spread; // what float32 leaves
        row.children[column + 1].textContent = rounding ? "≈ 0" : format(value);
        row.children[column + 1].title = rounding ? format(value) : "";
      });
    }
  }

  colourOf(group) {
    for (const { link } of this.board.panels.values()) {
      if (!link.colours) continue;
      const at = decode(link.ids).indexOf(group);
      if (at >= 0) return decode(link.colours)[at];
    }
    return group % this.board.data.colours.length;
  }

  /** A term of the formula is pointed at: light it, and the panels it comes from. */
  term(element) {
    const name = element?.dataset.term;
    const roles = LIT[name] ?? [];
    for (const panel of this.board.panels.values()) {
      const role = panel.link.kind === "bars" ? "bars" : panel.link.role;
      panel.element.classList.toggle("nv-lit", roles.includes(role));
    }
    const group = ["mu", "var"].includes(name) ? this.shown?.group : undefined;
    const cell = ["x", "y"].includes(name) ? this.shown?.cell : undefined;
    const slice = [...this.board.panels.values()].find((panel) => panel.link.role === (name === "y" ? "after" : "before"));
    if (cell && slice) this.board.point({ ...this.board.at(slice, slice.link.faces[0], cell.row, cell.column), term: name });
    else this.board.point(group === undefined ? null : { group, role: "term", row: -1, column: -1 });
    this.light(name ? [name] : []);
  }

  light(terms) {
    for (const element of this.formula?.querySelectorAll("[data-term]") ?? []) {
      element.classList.toggle("nv-lit", terms.includes(element.dataset.term));
    }
  }

  /** Write the numbers of the cell under the pointer, or of the last one. */
  fill() {
    const { spec } = this;
    if (!spec || !this.section) return;
    const find = (role) => [...this.board.panels.values()].find((panel) => panel.link.role === role);
    const [before, after, map] = [find("before"), find("after"), find("map")];
    const grid = (spec.kind === "map" ? map : before)?.link.faces[0];
    if (!grid) return;
    let cell = this.board.cell ?? { row: Math.floor(grid.rows / 2), column: Math.floor(grid.columns / 2) };
    if (cell.row >= grid.rows || cell.column >= grid.columns) cell = { row: 0, column: 0 };
    if (spec.kind === "map") return this.fillMap(spec, map, grid, cell);
    const own = groupAt(grid, cell.row, cell.column);
    const group = this.board.hover?.group ?? own;
    const there = group === own;
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
    const numbers = {
      x: there ? valueAt(before, cell.row, cell.column) : null,
      y: there ? valueAt(after, cell.row, cell.column) : null,
      mu: column("centre") ?? column("mean_before"),
      var: column("spread") ?? column("std_before") ** 2,
      eps: spec.eps, gamma: broadcast("gamma"), beta: broadcast("beta"),
    };
    for (const place of this.formula.querySelectorAll("mn[data-term]")) {
      const name = place.dataset.term, value = numbers[name];
      const text = value === null ? name : format(value);
      place.textContent = text.startsWith("−") && !["x", "y", "gamma"].includes(name) ? `(${text})` : text;
    }
    const [rowName, columnName] = before.link.axes;
    const where = there ? `${rowName} ${cell.row}, ${columnName} ${cell.column}: ` : "";
    this.line.textContent = `${where}${this.label(group)}`;
    this.line.style.setProperty("--nv-colour", this.board.data.colours[this.colourOf(group)]);
    for (const row of this.rows?.children ?? []) {
      row.classList.toggle("nv-lit", this.board.hover !== null && Number(row.dataset.group) === group);
    }
    this.light(this.board.hover ? (TERMS[this.board.hover.role] ?? []) : []);
  }

  fillMap(spec, map, grid, cell) {
    const value = valueAt(map, cell.row, cell.column), total = map.link.evidence;
    const share = total > 0 ? `${((100 * Math.max(value, 0)) / total).toFixed(1)} %` : "none";
    this.line.replaceChildren();
    make("span", "", this.line, `Row ${cell.row + 1} of ${grid.rows}, column ${cell.column + 1} of ${grid.columns}`);
    make("strong", "", this.line, `${format(value)} ${spec.unit}`.trim());
    make("span", "", this.line, `${share} of all positive evidence`);
  }
}
