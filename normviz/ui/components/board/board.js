// The board: linked Plotly charts that keep their elements, update with Plotly.react, and highlight the same cells.
// A figure's layout.meta.link describes its cells (normviz/figures/link.py). This module loads the scripts, arranges
// the panels and holds the highlighted position; board_layout.js adapts figures to the page; board_cube.js draws a
// block in 3-D; board_pointer.js handles input; board_paint.js draws the highlight; board_readout.js fills formula and
// table; board_numbers.js decodes and formats numbers.

import { Cube } from "./board_cube.js";
import { config, fit, readTheme, themed } from "./board_layout.js";
import { paint } from "./board_paint.js";
import { again, listen, listenBeyond, placeAt } from "./board_pointer.js";
import { make, Readout } from "./board_readout.js";

const REPORTED = ["before", "after", "cube", "map", "photo", "overlay"]; // roles whose clicks are reported

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

// ---- 2. The board -------------------------------------------------------------------------------------------------

class Board {
  constructor(parent) {
    this.root = make("div", "nv-board", parent);
    this.spoken = make("div", "nv-spoken", parent);
    this.spoken.setAttribute("aria-live", "polite");
    this.panels = new Map();
    this.zooms = new Map(); // space or panel -> axis ranges set by the user
    this.hover = null; // the position under the pointer, see board_pointer.js
    this.pin = null; // the clicked position, which stays highlighted
    this.cell = null; // the last cell of a slice or map under the pointer
    this.pending = []; // reported clicks that the server has not confirmed yet
    this.confirmed = "slice:"; // the last cell pinned by the server
    this.readout = new Readout(this);
    this.observer = new ResizeObserver(() => this.soon("redraw", () => this.draw()));
    this.observer.observe(this.root);
    this.ending = new AbortController();
    listenBeyond(this, this.ending.signal);
  }

  destroy() {
    this.ending.abort();
    this.observer.disconnect();
    for (const panel of this.panels.values()) window.Plotly?.purge(panel.chart);
  }

  /** Run `work` in the next frame, once however often it is requested. */
  soon(name, work) {
    this.waiting ??= {};
    if (this.waiting[name]) return;
    this.waiting[name] = requestAnimationFrame(() => {
      this.waiting[name] = 0;
      if (!this.ending.signal.aborted) work();
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
    data.panels.forEach((spec, index) => this.show(spec, index));
    this.readout.build(data.readout);
    this.hover = again(this, this.hover);
    this.follow(data.readout?.cell);
    try {
      await loadPlotly(data.plotly);
    } catch (error) {
      make("p", "nv-failed", this.root, `The charts cannot be shown: ${error.message}.`);
      throw error;
    }
    if (!this.ending.signal.aborted && this.data === data) this.draw();
  }

  /** Update a panel's figure and texts; creates the element of a new panel. */
  show(spec, index) {
    const panel = this.panels.get(spec.id) ?? this.addPanel(spec.id);
    panel.spec = spec;
    panel.link = spec.figure.layout.meta?.link ?? {};
    panel.values = null;
    if (panel.link.block) {
      if (!panel.cube) window.Plotly?.purge(panel.chart);
      panel.cube ??= new Cube(panel.plot);
      panel.cube.show(panel.link, this.data.colors);
      panel.scene = null;
    } else panel.cube = panel.cube?.remove();
    panel.faces = panel.cube?.faces ?? panel.link.faces ?? [];
    panel.title.textContent = spec.title;
    panel.caption.textContent = spec.caption;
    panel.caption.hidden = !spec.caption;
    panel.element.style.gridColumn = `span ${Math.min(spec.span, this.data.columns)}`;
    if (!panel.drawn) panel.plot.style.height = `${spec.height}px`;
    panel.plot.setAttribute("aria-label", spec.alt);
    const linked = panel.link.kind === "cells" || panel.link.kind === "choices";
    panel.plot.setAttribute("role", linked ? "application" : "img");
    panel.plot.tabIndex = linked ? 0 : -1;
    if (this.root.children[index] !== panel.element) this.root.insertBefore(panel.element, this.root.children[index]);
  }

  addPanel(id) {
    const element = make("section", "nv-panel");
    element.dataset.panel = id;
    const panel = { id, element, title: make("h3", "nv-title", element), plot: make("div", "nv-plot", element) };
    panel.chart = make("div", "nv-chart", panel.plot);
    panel.canvas = make("canvas", "nv-over", panel.plot);
    panel.badge = make("div", "nv-badge", panel.plot);
    panel.caption = make("p", "nv-caption", element);
    listen(this, panel);
    this.panels.set(id, panel);
    return panel;
  }

  /** Redraw panels whose figure, theme or width has changed. */
  draw() {
    if (!window.Plotly || !this.data) return;
    this.theme = readTheme(this.root);
    let changed = false;
    for (const panel of this.panels.values()) {
      const width = panel.plot.clientWidth, { figure, height: most } = panel.spec;
      if (!width) continue;
      const height = panel.cube ? panel.cube.size(width, most) : fit(figure.layout, width, most);
      const key = JSON.stringify([figure, height, width, this.theme]);
      if (key === panel.drawn) continue;
      panel.drawn = key;
      changed = true;
      panel.plot.style.height = `${height}px`;
      if (panel.cube) panel.cube.paint(this.theme);
      else this.chart(panel, width, height);
    }
    if (changed) this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
    paint(this);
    this.readout.fill();
  }

  chart(panel, width, height) {
    const { data, layout: bare } = structuredClone(panel.spec.figure);
    const layout = { ...themed(bare, data, this.theme), width, height };
    const zoom = this.zooms.get(panel.link.space ?? panel.id);
    if (zoom && zoom.revision === layout.uirevision && panel.link.space) {
      layout.xaxis.range = [...zoom.x];
      layout.yaxis.range = [...zoom.y];
    }
    if (panel.eye) layout.scene = { ...layout.scene, camera: { ...layout.scene?.camera, eye: panel.eye } };
    const fresh = !panel.chart._fullLayout;
    window.Plotly.react(panel.chart, data, layout, config(bare, data));
    panel.scene = panel.chart._fullLayout.scene;
    panel.plot.classList.add("nv-ready");
    if (!fresh) return;
    panel.chart.on("plotly_afterplot", () => this.soon("paint", () => paint(this)));
    panel.chart.on("plotly_relayout", (change) => this.zoomed(panel, change));
  }

  /** Apply a zoom to all panels of the same space. */
  zoomed(panel, change) {
    const space = panel.link.space;
    if (!space || !Object.keys(change).some((name) => /axis\.(range|autorange)/.test(name))) return;
    const { xaxis, yaxis } = panel.chart._fullLayout;
    const zoom = { x: [...xaxis.range], y: [...yaxis.range], revision: panel.spec.figure.layout.uirevision };
    const near = (a, b) => a.every((value, k) => Math.abs(value - b[k]) < 1e-6);
    const known = this.zooms.get(space);
    if (known && near(known.x, zoom.x) && near(known.y, zoom.y)) return; // caused by our own relayout of another panel
    this.zooms.set(space, zoom);
    for (const other of this.panels.values()) {
      if (other === panel || other.link.space !== space) continue;
      window.Plotly.relayout(other.chart, { "xaxis.range": [...zoom.x], "yaxis.range": [...zoom.y] });
    }
  }

  /** Rotate a cube, then repaint it and its highlight. */
  turned(panel, work) {
    work();
    this.soon("turn", () => {
      panel.cube.paint(this.theme);
      paint(this, [panel]);
    });
  }

  /** Rotate the camera of a 3-D scene to the right and up, in radians. */
  turnScene(panel, right, up) {
    const { x, y, z } = panel.eye ?? panel.scene.camera.eye, radius = Math.hypot(x, y, z);
    const azimuth = Math.atan2(y, x) - right, elevation = Math.min(Math.max(Math.asin(z / radius) - up, -1.5), 1.5);
    const flat = radius * Math.cos(elevation);
    panel.eye = { x: flat * Math.cos(azimuth), y: flat * Math.sin(azimuth), z: radius * Math.sin(elevation) };
    this.soon("scene", () => window.Plotly.relayout(panel.chart, { "scene.camera.eye": panel.eye }));
  }

  // ---- 3. The highlight: the position under the pointer, otherwise the pinned one ----------------------------------

  get active() {
    return this.hover ?? this.pin;
  }

  /** The highlighted group: that of the cell under the pointer, otherwise the pinned one; none on padding. */
  get group() {
    return this.hover?.padded ? null : (this.hover?.group ?? this.pin?.group ?? null);
  }

  /** The panel with a role, for example "before". */
  find(role) {
    return [...this.panels.values()].find((panel) => panel.link.role === role);
  }

  point(hover, announce = false) {
    const names = ["panel", "side", "row", "column", "group", "role"];
    if (names.every((name) => hover?.[name] === this.hover?.[name])) return;
    this.hover = hover;
    if (hover?.space) this.cell = { row: hover.row, column: hover.column };
    this.changed(announce);
  }

  changed(announce = false) {
    this.soon("paint", () => paint(this));
    this.readout.fill();
    if (announce) this.spoken.textContent = this.readout.line?.textContent ?? "";
  }

  /** Whether a position is the pinned one, or the cell of the cube that was clicked to pin it. */
  holds(place) {
    const spot = ({ role, space, cell, panel, group, row, column }) =>
      [space ?? panel?.id ?? role, ...(cell ?? (panel ? [row, column] : [group]))].join();
    if (!this.pin || !place) return false;
    const marked = place.role === "cube" && String(this.pin.mark?.cell) === String(place.cell);
    return marked || spot(this.pin) === spot(place);
  }

  /** Pin a position and report it, or release it if it is already pinned. */
  toggle(place, announce = false) {
    if (this.holds(place)) return this.release(announce);
    this.pin = place;
    if (place.space) this.cell = { row: place.row, column: place.column };
    this.report(place, place.role === "cube" ? `cube:${place.cell}` : `slice:${place.row},${place.column}`);
    return this.changed(announce);
  }

  release(announce = false) {
    if (!this.pin) return;
    this.report(this.pin, "slice:");
    this.pin = null;
    this.changed(announce);
  }

  /** Report a clicked cell to the server, if it requested clicks. */
  report({ role }, text) {
    if (!this.data.clicks || !REPORTED.includes(role)) return;
    this.pending = [...this.pending.slice(-9), text];
    this.send("clicked", text);
  }

  /** Keep the pin in the new figures and move it to the server's cell, unless that confirms a click made here. */
  follow(cell) {
    const sent = `slice:${cell ?? ""}`, here = this.pending.indexOf(sent), old = this.pin;
    const before = this.find("before"), slice = before?.spec.figure.data[0].z.bdata;
    const cube = cell && this.pending.some((text) => text.startsWith("cube"));
    this.pin = again(this, old);
    if (this.pin && old.mark?.slice === slice) this.pin.mark = old.mark;
    if (sent === this.confirmed && !cube) return;
    this.confirmed = sent;
    this.pending = here < 0 ? [] : this.pending.slice(here + 1);
    if (here >= 0 || (cube && !old)) return; // confirms a click made here, or the pin was released since
    const face = cell && before?.faces[0], inside = face && cell[0] < face.rows && cell[1] < face.columns;
    this.pin = inside ? placeAt(this, before, face, ...cell) : null;
    if (inside) this.cell = { row: cell[0], column: cell[1] };
    if (cube && this.pin?.group === old.group) this.pin.mark = { cell: old.cell, slice };
  }
}

// ---- 4. The entry point, called by Streamlit on every change of data or theme ------------------------------------

const boards = new WeakMap();

/** Show the data unless it is outdated; returns the cleanup function. */
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
