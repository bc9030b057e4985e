// The highlight, painted on a canvas above each chart: veil what does not belong, outline what does.

import { decode, format, groupAt, valueAt } from "./board_numbers.js";

const BEFORE = "#7C8DA6", AFTER = "#D9622B";

/** Pixels of the point origin + j·along + i·down of a face. */
function pixel(panel, face, i, j) {
  const { xaxis, yaxis } = panel.chart._fullLayout;
  const x = face.origin[0] + j * face.along[0] + i * face.down[0];
  const y = face.origin[1] + j * face.along[1] + i * face.down[1];
  return [xaxis._offset + xaxis.l2p(x), yaxis._offset + yaxis.l2p(y)];
}

export function paint(board) {
  for (const panel of board.panels.values()) {
    const full = panel.chart._fullLayout;
    if (!full?.xaxis || !board.theme) continue;
    const { canvas } = panel, ratio = window.devicePixelRatio || 1;
    const [width, height] = [full.width, full.height];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const brush = canvas.getContext("2d");
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.clearRect(0, 0, width, height);
    panel.badge.textContent = "";
    brush.save();
    if (board.hover) paintPanel(board, panel, brush, full, board.hover);
    brush.restore();
  }
}

function paintPanel(board, panel, brush, full, hover) {
  const { xaxis, yaxis } = full, { link } = panel;
  if (link.kind === "choices") {
    if (hover.panel !== panel) return;
    const [top, end] = [yaxis._offset + yaxis.l2p(hover.row - 0.5), yaxis._offset + yaxis.l2p(hover.row + 0.5)];
    stroke(board.theme, brush, () => brush.rect(2, top + 2, full.width - 4, end - top - 4));
    return;
  }
  brush.beginPath();
  brush.rect(xaxis._offset - 2, yaxis._offset - 2, xaxis._length + 4, yaxis._length + 4);
  brush.clip();
  if (link.kind === "bars") paintBars(board, panel, brush, full, hover);
  if (link.kind !== "cells") return;
  if (hover.group !== null && hover.group !== undefined) paintGroup(board, panel, brush, hover.group);
  const same = link.space && link.space === hover.space;
  if (same || hover.panel === panel) paintCell(board, panel, brush, same ? link.faces[0] : hover.face, hover, full);
}

/** Veil the cells of other groups, outline the cells of this one. */
function paintGroup(board, panel, brush, group) {
  let found = false;
  const outline = new Path2D(), veil = new Path2D();
  for (const face of panel.link.faces) {
    if (face.groups === null) return;
    const corner = (path, first, i, j) => path[first ? "moveTo" : "lineTo"](...pixel(panel, face, i, j));
    const edge = (i, j, k, l) => (corner(outline, true, i, j), corner(outline, false, k, l));
    const inside = (i, j) => i >= 0 && j >= 0 && i < face.rows && j < face.columns && groupAt(face, i, j) === group;
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
  if (!found) {
    panel.badge.textContent = `${board.readout.label(group)} is not in this ${panel.link.role === "cube" ? "block" : "slice"}`;
  }
  brush.globalAlpha = 0.78;
  brush.fillStyle = board.theme.paper;
  brush.fill(veil);
  brush.globalAlpha = 1;
  stroke(board.theme, brush, outline);
}

/** Mark one cell, and write its value beside it. */
function paintCell(board, panel, brush, face, hover, full) {
  if (!face) return;
  const corners = [[0, 0], [0, 1], [1, 1], [1, 0]].map(([i, j]) => pixel(panel, face, hover.row + i, hover.column + j));
  const middle = [0, 1].map((k) => corners.reduce((sum, corner) => sum + corner[k], 0) / 4);
  const size = Math.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]);
  const grow = Math.max(1, 11 / size); // a cell of two pixels is marked by a frame that can be seen
  const path = new Path2D();
  corners.forEach((corner, k) => {
    const [x, y] = [0, 1].map((axis) => middle[axis] + (corner[axis] - middle[axis]) * grow);
    path[k ? "lineTo" : "moveTo"](x, y);
  });
  path.closePath();
  if (panel.link.space === "image" || panel.link.axes?.[0] === "row") {
    const { xaxis, yaxis } = full, gap = (size * grow) / 2;
    const cross = new Path2D();
    for (const [a, b, c, d] of [
      [xaxis._offset, middle[1], middle[0] - gap, middle[1]], [middle[0] + gap, middle[1], xaxis._offset + xaxis._length, middle[1]],
      [middle[0], yaxis._offset, middle[0], middle[1] - gap], [middle[0], middle[1] + gap, middle[0], yaxis._offset + yaxis._length],
    ]) (cross.moveTo(a, b), cross.lineTo(c, d));
    stroke(board.theme, brush, cross, 1);
  }
  stroke(board.theme, brush, path, 2.5);
  const value = valueAt(panel, hover.row, hover.column);
  if (value === null) return;
  const text = format(value);
  brush.font = `600 16px ${board.theme.font}`;
  const width = brush.measureText(text).width + 12;
  const left = middle[0] + 12 + width > full.width ? middle[0] - 12 - width : middle[0] + 12;
  const top = Math.max(middle[1] - 36, full.yaxis._offset);
  brush.fillStyle = board.theme.text;
  brush.beginPath();
  brush.roundRect(left, top, width, 26, 4);
  brush.fill();
  brush.fillStyle = board.theme.paper;
  brush.textBaseline = "middle";
  brush.fillText(text, left + 6, top + 14);
}

/** The hovered group's own histograms over the faded ones of all values. */
function paintBars(board, panel, brush, full, hover) {
  const { link } = panel, { group } = hover;
  if (!link.ids || group === null || group === undefined) return;
  link.decoded ??= { ids: decode(link.ids), before: decode(link.before), after: decode(link.after) };
  const index = link.decoded.ids.indexOf(group);
  if (index < 0) {
    panel.badge.textContent = `${board.readout.label(group)} has no histogram here`;
    return;
  }
  const { xaxis, yaxis } = full, bottom = yaxis._offset + yaxis._length;
  brush.globalAlpha = 0.78;
  brush.fillStyle = board.theme.paper;
  brush.fillRect(xaxis._offset, yaxis._offset, xaxis._length, yaxis._length);
  const width = (link.high - link.low) / link.bins;
  for (const [name, colour] of [["before", BEFORE], ["after", AFTER]]) {
    const path = new Path2D();
    path.moveTo(xaxis._offset + xaxis.l2p(link.low), bottom);
    for (let b = 0; b < link.bins; b++) {
      const y = bottom - (link.decoded[name][index * link.bins + b] / 255) * 0.92 * yaxis._length;
      for (const x of [link.low + b * width, link.low + (b + 1) * width]) path.lineTo(xaxis._offset + xaxis.l2p(x), y);
    }
    path.lineTo(xaxis._offset + xaxis.l2p(link.high), bottom);
    brush.globalAlpha = 0.45;
    brush.fillStyle = colour;
    brush.fill(path);
    brush.globalAlpha = 1;
    brush.lineWidth = 2;
    brush.strokeStyle = colour;
    brush.stroke(path);
  }
  panel.badge.textContent = `${board.readout.label(group)}, heights on a scale of its own`;
}

/** A line that can be seen on any colour: the ink on a halo of the paper. */
function stroke(theme, brush, path, width = 2.5) {
  for (const [colour, extra] of [[theme.paper, 3], [theme.text, 0]]) {
    brush.strokeStyle = colour;
    brush.lineWidth = width + extra;
    if (path instanceof Path2D) brush.stroke(path);
    else (brush.beginPath(), path(), brush.stroke());
  }
}
