// The board: Plotly charts that keep their elements, are redrawn by Plotly.react, and light up together.
// A figure's layout.meta.link says what its cells mean (normviz/figures/link.py). Four small modules: this one loads,
// lays out and listens; board_paint.js draws the highlight; board_readout.js writes the formula and the table;
// board_numbers.js decodes.

import { groupAt } from "./board_numbers.js";
import { paint } from "./board_paint.js";
import { make, Readout } from "./board_readout.js";

// ---- 1. Loading, once per page ------------------------------------------------------------------------------------

function loadPlotly(address) {
  window.normvizPlotly ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: address, async: true });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error(`could not load ${address}`));
    document.head.append(script);
  });
  return window.normvizPlotly;
}

function loadStyle(address) {
  if (document.querySelector(`link[href="${address}"]`)) return;
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: address }));
}

// ---- 2. Theme: what the page's own colours make of a neutral figure -------------------------------------------------

function readTheme(element) {
  const style = getComputedStyle(element);
  const get = (name, otherwise) => style.getPropertyValue(`--st-${name}`).trim() || otherwise;
  return {
    text: get("text-color", "#1D2733"),
    paper: get("background-color", "#FBFAF7"),
    line: get("border-color", "#D8D3C7"),
    font: get("font", "sans-serif"),
  };
}

/** A finger scrolls the page, it does not zoom a chart. */
const isTouch = () => window.matchMedia("(pointer: coarse)").matches;

function themed(layout, theme) {
  const axis = {
    gridcolor: theme.line, linecolor: theme.line, tickcolor: theme.line, zerolinecolor: theme.line,
    tickfont: { color: theme.text, size: 16 },
  };
  const template = {
    font: { color: theme.text, family: theme.font, size: 16 }, xaxis: axis, yaxis: axis,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.text, activecolor: theme.text },
    hoverlabel: { bgcolor: theme.paper, bordercolor: theme.text, font: { color: theme.text, size: 16 } },
  };
  return { ...layout, template: { layout: template }, dragmode: isTouch() ? false : (layout.dragmode ?? "zoom") };
}

/** The height that cells of a fixed shape need at this width, at most the one asked for: no empty band on a phone. */
function fit({ xaxis, yaxis, margin }, width, most) {
  if (!yaxis?.scaleanchor) return most;
  const span = (axis) => Math.abs(axis.range[1] - axis.range[0]);
  const plot = ((width - margin.l - margin.r) * span(yaxis) * yaxis.scaleratio) / span(xaxis);
  return Math.min(most, Math.ceil(plot + margin.t + margin.b));
}

// ---- 3. The board -------------------------------------------------------------------------------------------------

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

class Board {
  constructor(parent) {
    this.root = make("div", "nv-board", parent);
    this.spoken = make("div", "nv-spoken", parent);
    this.spoken.setAttribute("aria-live", "polite");
    this.panels = new Map();
    this.zooms = new Map(); // space or panel -> ranges that a person chose
    this.hover = null; // {group, space, row, column, panel, face, role}
    this.cell = null; // the last cell of a slice or map that was pointed at
    this.readout = new Readout(this);
    this.observer = new ResizeObserver(() => this.soon("redraw", () => this.draw()));
    this.observer.observe(this.root);
    this.outside = (event) => {
      if (event.pointerType !== "mouse" && !this.root.contains(event.target)) this.point(null);
    };
    document.addEventListener("pointerdown", this.outside);
  }

  destroy() {
    this.gone = true;
    this.observer.disconnect();
    document.removeEventListener("pointerdown", this.outside);
    for (const panel of this.panels.values()) window.Plotly?.purge(panel.chart);
  }

  /** Run at most once a frame. */
  soon(name, work) {
    this.waiting ??= {};
    if (this.waiting[name]) return;
    this.waiting[name] = requestAnimationFrame(() => {
      this.waiting[name] = 0;
      if (!this.gone) work();
    });
  }

  async update({ data, setTriggerValue }) {
    this.data = data;
    this.send = setTriggerValue;
    this.root.style.setProperty("--nv-columns", data.columns);
    for (const [id, panel] of this.panels) {
      if (data.panels.some((spec) => spec.id === id)) continue;
      window.Plotly?.purge(panel.chart);
      panel.element.remove();
      this.panels.delete(id);
    }
    data.panels.forEach((spec, index) => {
      const panel = this.panels.get(spec.id) ?? this.addPanel(spec.id);
      panel.spec = spec;
      panel.link = spec.figure.layout.meta?.link ?? {};
      panel.values = null;
      panel.title.textContent = spec.title;
      panel.caption.textContent = spec.caption;
      panel.caption.hidden = !spec.caption;
      panel.element.style.gridColumn = `span ${Math.min(spec.span, data.columns)}`;
      if (!panel.drawn) panel.plot.style.height = `${spec.height}px`;
      panel.plot.setAttribute("aria-label", spec.alt);
      const linked = panel.link.kind === "cells" || panel.link.kind === "choices";
      panel.plot.setAttribute("role", linked ? "application" : "img");
      panel.plot.tabIndex = linked ? 0 : -1;
      if (this.root.children[index] !== panel.element) this.root.insertBefore(panel.element, this.root.children[index]);
    });
    this.readout.build(data.readout);
    try {
      await loadPlotly(data.plotly);
    } catch (error) {
      make("p", "nv-failed", this.root, `The charts cannot be shown: ${error.message}.`);
      throw error;
    }
    if (!this.gone && this.data === data) this.draw();
  }

  addPanel(id) {
    const element = make("section", "nv-panel");
    element.dataset.panel = id;
    const panel = { id, element, title: make("h3", "nv-title", element), plot: make("div", "nv-plot", element) };
    panel.chart = make("div", "nv-chart", panel.plot);
    panel.canvas = make("canvas", "nv-over", panel.plot);
    panel.badge = make("div", "nv-badge", panel.plot);
    panel.caption = make("p", "nv-caption", element);
    const locate = (event) => this.point(this.locate(panel, event));
    panel.plot.addEventListener("pointermove", locate);
    panel.plot.addEventListener("pointerdown", locate);
    panel.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.point(null));
    panel.plot.addEventListener("click", (event) => this.choose(panel, this.locate(panel, event)));
    panel.plot.addEventListener("keydown", (event) => this.key(panel, event));
    panel.plot.addEventListener("blur", () => this.point(null));
    this.panels.set(id, panel);
    return panel;
  }

  /** Redraw what changed: the figure, the theme or the width. */
  draw() {
    if (!window.Plotly || !this.data) return;
    this.theme = readTheme(this.root);
    let changed = false;
    for (const panel of this.panels.values()) {
      const width = panel.plot.clientWidth;
      if (!width) continue;
      const height = fit(panel.spec.figure.layout, width, panel.spec.height);
      const key = JSON.stringify([panel.spec.figure, height, width, this.theme]);
      if (key === panel.drawn) continue;
      panel.drawn = key;
      changed = true;
      panel.plot.style.height = `${height}px`;
      const { data, layout: bare } = structuredClone(panel.spec.figure);
      const layout = { ...themed(bare, this.theme), width, height };
      const zoom = this.zooms.get(panel.link.space ?? panel.id);
      if (zoom && zoom.revision === layout.uirevision && panel.link.space) {
        layout.xaxis.range = [...zoom.x];
        layout.yaxis.range = [...zoom.y];
      }
      const fixed = layout.xaxis?.fixedrange && layout.yaxis?.fixedrange;
      const config = {
        displaylogo: false, responsive: false, showTips: false, doubleClick: "reset",
        displayModeBar: fixed || isTouch() ? false : "hover", modeBarButtons: [["resetScale2d"]],
      };
      window.Plotly.react(panel.chart, data, layout, config);
      if (!panel.plot.classList.contains("nv-ready")) {
        panel.plot.classList.add("nv-ready");
        panel.chart.on("plotly_afterplot", () => this.soon("paint", () => paint(this)));
        panel.chart.on("plotly_relayout", (change) => this.zoomed(panel, change));
      }
    }
    if (changed) this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
    paint(this);
    this.readout.fill();
  }

  /** A zoom in one panel of a space is a zoom in all of them. */
  zoomed(panel, change) {
    const space = panel.link.space;
    if (!space || !Object.keys(change).some((name) => /axis\.(range|autorange)/.test(name))) return;
    const { xaxis, yaxis } = panel.chart._fullLayout;
    const zoom = { x: [...xaxis.range], y: [...yaxis.range], revision: panel.spec.figure.layout.uirevision };
    const near = (a, b) => a.every((value, k) => Math.abs(value - b[k]) < 1e-6);
    const known = this.zooms.get(space);
    if (known && near(known.x, zoom.x) && near(known.y, zoom.y)) return; // the echo of a sibling's change
    this.zooms.set(space, zoom);
    for (const other of this.panels.values()) {
      if (other === panel || other.link.space !== space) continue;
      window.Plotly.relayout(other.chart, { "xaxis.range": [...zoom.x], "yaxis.range": [...zoom.y] });
    }
  }

  // ---- 4. Pointing: from a place on the screen to a cell and its group ---------------------------------------------

  locate(panel, event) {
    const full = panel.chart._fullLayout;
    if (!full) return null;
    const box = panel.plot.getBoundingClientRect();
    const { xaxis, yaxis } = full;
    const across = event.clientX - box.left - xaxis._offset, below = event.clientY - box.top - yaxis._offset;
    if (panel.link.kind === "choices") {
      const row = Math.floor(yaxis.p2l(below) + 0.5);
      return panel.link.values[row] === undefined ? null : { panel, row, column: 0, choice: panel.link.values[row] };
    }
    if (across < 0 || below < 0 || across > xaxis._length || below > yaxis._length) return null;
    const x = xaxis.p2l(across), y = yaxis.p2l(below);
    for (const face of panel.link.faces ?? []) {
      const [dx, dy] = [x - face.origin[0], y - face.origin[1]];
      const [ux, uy] = face.along, [vx, vy] = face.down;
      const determinant = ux * vy - uy * vx;
      const column = Math.floor((dx * vy - dy * vx) / determinant), row = Math.floor((ux * dy - uy * dx) / determinant);
      if (row >= 0 && column >= 0 && row < face.rows && column < face.columns) return this.at(panel, face, row, column);
    }
    return null;
  }

  at(panel, face, row, column) {
    return { panel, face, row, column, space: panel.link.space, role: panel.link.role, group: groupAt(face, row, column) };
  }

  point(hover, spoken = false) {
    const same = (a, b) => ["panel", "face", "row", "column", "group", "role"].every((name) => a?.[name] === b?.[name]);
    if (same(hover, this.hover)) return;
    this.hover = hover;
    if (hover?.space) this.cell = { row: hover.row, column: hover.column };
    this.soon("paint", () => paint(this));
    this.readout.fill();
    if (spoken) this.spoken.textContent = this.readout.line?.textContent ?? "";
  }

  choose(panel, hover) {
    if (hover?.choice !== undefined) this.send("clicked", hover.choice);
  }

  key(panel, event) {
    const here = this.hover?.panel === panel ? this.hover : null;
    if (event.key === "Escape") return this.point(null);
    if (event.key === "Enter" || event.key === " ") {
      if (panel.link.kind !== "choices") return undefined;
      event.preventDefault();
      return this.choose(panel, here);
    }
    const step = ARROWS[event.key];
    if (!step) return undefined;
    event.preventDefault();
    const clip = (value, size) => Math.min(Math.max(value, 0), size - 1);
    if (panel.link.kind === "choices") {
      const row = clip((here?.row ?? -1) + step[0], panel.link.values.length);
      return this.point({ panel, row, column: 0, choice: panel.link.values[row] }, true);
    }
    const face = here?.face ?? panel.link.faces[0];
    const from = here ?? (panel.link.space && this.cell) ?? { row: -1, column: 0 };
    const [row, column] = [clip(from.row + step[0], face.rows), clip(from.column + step[1], face.columns)];
    return this.point(this.at(panel, face, row, column), true);
  }
}

// ---- 5. Streamlit calls this at every change of data or theme ------------------------------------------------------

const boards = new WeakMap();

/** Show the data unless a later change has overtaken them; returns what to do when the page lets the board go. */
export default function (component, current) {
  const parent = component.parentElement;
  loadStyle(component.data.style);
  if (!boards.has(parent)) boards.set(parent, new Board(parent));
  const board = boards.get(parent);
  if (current) board.update(component);
  return () => {
    board.destroy();
    board.root.remove();
    board.spoken.remove();
    boards.delete(parent);
  };
}
