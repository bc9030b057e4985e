// The highlight on a canvas above each chart: fades the cells of other groups and outlines the highlighted one.

import { brushOf, frame } from "./board_layout.js";
import { decode, format, groupAt, valueAt } from "./board_numbers.js";

const BEFORE = "#7C8DA6", AFTER = "#D9622B";

/** Pixels of the point origin + j·along + i·down of a face. */
function pixel(panel, face, i, j) {
  const x = face.origin[0] + j * face.along[0] + i * face.down[0];
  const y = face.origin[1] + j * face.along[1] + i * face.down[1];
  return frame(panel).pixel(x, y);
}

/** Paint the highlight in all panels or in the given ones. */
export function paint(board, panels = board.panels.values()) {
  for (const panel of panels) {
    const window = frame(panel);
    panel.badge.textContent = "";
    if (!window || !board.theme) continue;
    const brush = brushOf(panel.canvas, window);
    if (board.active) paintPanel(board, panel, brush, window);
  }
}

function paintPanel(board, panel, brush, window) {
  const { hover, pin, group } = board, { link } = panel;
  if (link.kind === "choices") {
    if (hover?.panel !== panel) return;
    const [[, top], [, end]] = [hover.row - 0.5, hover.row + 0.5].map((row) => window.pixel(0, row));
    stroke(board.theme, brush, () => brush.rect(2, top + 2, window.width - 4, end - top - 4));
    return;
  }
  if (link.kind !== "cells" && link.kind !== "bars") return;
  brush.save();
  brush.beginPath();
  brush.rect(window.left - 2, window.top - 2, window.across + 4, window.down + 4);
  brush.clip();
  if (group !== null) (link.kind === "bars" ? paintBars : paintGroup)(board, panel, brush, window, group);
  if (hover && pin) paintCell(board, panel, brush, window, pin, 1.5);
  const middle = paintCell(board, panel, brush, window, board.active, 2.5);
  brush.restore();
  if (middle) paintValue(board, panel, brush, window, board.active, middle);
}

/** Fade the cells of other groups and outline the cells of this one. */
function paintGroup(board, panel, brush, window, group) {
  let found = false, hidden = false;
  const outline = new Path2D(), veil = new Path2D();
  for (const face of panel.faces) {
    if (face.groups === null) return;
    const inside = (i, j) => i >= 0 && j >= 0 && i < face.rows && j < face.columns && groupAt(face, i, j) === group;
    if (face.hidden) {
      for (let i = 0; i < face.rows && !hidden; i++) for (let j = 0; j < face.columns; j++) hidden ||= inside(i, j);
      continue;
    }
    const corner = (path, first, i, j) => path[first ? "moveTo" : "lineTo"](...pixel(panel, face, i, j));
    const edge = (i, j, k, l) => (corner(outline, true, i, j), corner(outline, false, k, l));
    for (let i = 0; i < face.rows; i++) {
      for (let j = 0, start = 0; j <= face.columns; j++) {
        const here = inside(i, j);
        found ||= here;
        if (here !== inside(i, j - 1)) edge(i, j, i + 1, j);
        if (here !== inside(i - 1, j)) edge(i, j, i, j + 1);
        if (here && i === face.rows - 1) edge(i + 1, j, i + 1, j + 1);
        if (!here && j < face.columns) continue;
        if (j > start) {
          corner(veil, true, i, start);
          for (const [k, l] of [[i, j], [i + 1, j], [i + 1, start]]) corner(veil, false, k, l);
        }
        start = j + 1;
      }
    }
  }
  const where = panel.link.role === "cube" ? "block" : "slice";
  const missing = hidden ? "on a side turned away" : `not in this ${where}`;
  if (!found) panel.badge.textContent = `${board.readout.label(group)} is ${missing}`;
  brush.globalAlpha = 0.78;
  brush.fillStyle = board.theme.paper;
  brush.fill(veil);
  brush.globalAlpha = 1;
  stroke(board.theme, brush, outline);
}

/** Mark a position in this panel; returns its center, or undefined if the panel does not contain it. */
function paintCell(board, panel, brush, window, place, width) {
  const same = panel.link.space && panel.link.space === place.space, own = place.panel === panel;
  const cell = panel.cube && (own ? place.cell : place.mark?.cell);
  const marks = []; // the corners of each parallelogram
  const add = (face, i, j) => {
    marks.push([[0, 0], [0, 1], [1, 1], [1, 0]].map(([k, l]) => pixel(panel, face, i + k, j + l)));
  };
  if (cell) {
    for (const face of panel.faces) {
      const on = face.hidden ? null : panel.cube.on(face, cell);
      if (on) add(face, ...on);
    }
  } else if (same || (own && !panel.cube)) add(panel.faces[same ? 0 : place.side], place.row, place.column);
  if (!marks.length || panel.link.kind !== "cells") return undefined;
  const middle = [0, 1].map((k) => marks[0].reduce((sum, corner) => sum + corner[k], 0) / 4);
  const size = Math.hypot(marks[0][1][0] - marks[0][0][0], marks[0][1][1] - marks[0][0][1]);
  const grow = cell ? 1 : Math.max(1, 11 / size); // a minimum size, so that the frame of a tiny cell is visible
  const path = new Path2D();
  for (const corners of marks) {
    corners.forEach((corner, k) => {
      path[k ? "lineTo" : "moveTo"](...[0, 1].map((axis) => middle[axis] + (corner[axis] - middle[axis]) * grow));
    });
    path.closePath();
  }
  if (panel.link.space === "image" || panel.link.axes?.[0] === "row") {
    const { left, top, across, down } = window, gap = (size * grow) / 2, cross = new Path2D();
    for (const [a, b, c, d] of [
      [left, middle[1], middle[0] - gap, middle[1]], [middle[0] + gap, middle[1], left + across, middle[1]],
      [middle[0], top, middle[0], middle[1] - gap], [middle[0], middle[1] + gap, middle[0], top + down],
    ]) (cross.moveTo(a, b), cross.lineTo(c, d));
    stroke(board.theme, brush, cross, 1);
  }
  stroke(board.theme, brush, path, width);
  return middle;
}

/** Write a cell's value next to it, or that it is padding. */
function paintValue({ theme }, panel, brush, window, place, [x, y]) {
  const value = place.padded ? null : valueAt(panel, place.row, place.column);
  if (value === null && !place.padded) return;
  const text = place.padded ? place.panel.link.said : format(value);
  brush.font = `600 16px ${theme.font}`;
  const width = brush.measureText(text).width + 12;
  const beside = x + 12 + width > window.width ? x - 12 - width : x + 12;
  const left = Math.max(beside, 0), top = Math.max(y - 36, window.top);
  brush.fillStyle = theme.text;
  brush.beginPath();
  brush.roundRect(left, top, width, 26, 4);
  brush.fill();
  brush.fillStyle = theme.paper;
  brush.textBaseline = "middle";
  brush.fillText(text, left + 6, top + 14);
}

/** Draw the highlighted group's histograms over the faded ones of all values. */
function paintBars(board, panel, brush, window, group) {
  const { link } = panel, { left, top, across, down } = window, bottom = top + down;
  if (!link.ids) return;
  link.decoded ??= { ids: decode(link.ids), before: decode(link.before), after: decode(link.after) };
  const index = link.decoded.ids.indexOf(group);
  if (index < 0) {
    panel.badge.textContent = `${board.readout.label(group)} has no histogram here`;
    return;
  }
  brush.globalAlpha = 0.78;
  brush.fillStyle = board.theme.paper;
  brush.fillRect(left, top, across, down);
  const width = (link.high - link.low) / link.bins, at = (x) => window.pixel(x, 0)[0];
  for (const [name, color] of [["before", BEFORE], ["after", AFTER]]) {
    const path = new Path2D();
    path.moveTo(at(link.low), bottom);
    for (let b = 0; b < link.bins; b++) {
      const y = bottom - (link.decoded[name][index * link.bins + b] / 255) * 0.92 * down;
      for (const x of [link.low + b * width, link.low + (b + 1) * width]) path.lineTo(at(x), y);
    }
    path.lineTo(at(link.high), bottom);
    brush.globalAlpha = 0.45;
    brush.fillStyle = color;
    brush.fill(path);
    brush.globalAlpha = 1;
    brush.lineWidth = 2;
    brush.strokeStyle = color;
    brush.stroke(path);
  }
  panel.badge.textContent = `${board.readout.label(group)}, on its own scale`;
}

/** Stroke a line that is visible on any color: text color on a halo of the background color. */
function stroke(theme, brush, path, width = 2.5) {
  for (const [color, extra] of [[theme.paper, 3], [theme.text, 0]]) {
    brush.strokeStyle = color;
    brush.lineWidth = width + extra;
    if (path instanceof Path2D) brush.stroke(path);
    else (brush.beginPath(), path(), brush.stroke());
  }
}
