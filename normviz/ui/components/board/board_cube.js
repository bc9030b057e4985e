// A block of cells that can be rotated, drawn on a 2-D canvas without WebGL. In the orthographic projection every side
// is a parallelogram, so its origin and two edges are all that pointing and highlighting need.

import { brushOf, isTouch } from "./board_layout.js";
import { decode, groupAt } from "./board_numbers.js";

const AXES = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]; // directions in space: N back, C right, positions down
const GRID = [[2, 1], [2, 0], [0, 1]]; // row and column axes of the two sides normal to each axis
const START = { azimuth: Math.PI / 4, elevation: Math.atan(Math.SQRT1_2) }; // isometric
const SHADE = [0.06, 0.2, 0]; // darkness of the sides normal to each axis
const MARGIN = 24; // pixels around the block, for the axis labels
const LINE = "rgba(29,39,51,0.55)";

const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);

export class Cube {
  constructor(plot) {
    const add = (tag, className, textContent) => Object.assign(document.createElement(tag), { className, textContent });
    this.plot = plot;
    this.view = { ...START };
    this.canvas = add("canvas", "nv-block", "");
    this.hint = add("span", "nv-turn", isTouch() ? "swipe to rotate" : "drag to rotate");
    this.button = add("button", "nv-turn", "reset view");
    this.button.type = "button";
    plot.prepend(this.canvas);
    plot.append(this.hint, this.button);
    plot.classList.add("nv-turns", "nv-ready");
    const keys = "Arrow keys move the cell, Shift and arrow keys rotate the block, Enter pins the cell.";
    plot.setAttribute("aria-description", keys);
  }

  remove() {
    for (const element of [this.canvas, this.hint, this.button]) element.remove();
    this.plot.classList.remove("nv-turns");
    this.plot.removeAttribute("aria-description");
  }

  /** Show another block from the current view. */
  show({ block, ids, colors }, palette) {
    const chosen = decode(colors);
    this.block = block;
    this.colors = new Map(Array.from(decode(ids), (group, k) => [group, palette[chosen[k]]]));
    this.faces = block.sides.map((groups, side) => {
      const axis = side >> 1, [rows, columns] = GRID[axis].map((k) => block.sizes[k]);
      return { axis, end: side & 1, rows, columns, groups };
    });
    this.project();
  }

  /** Fit the block to a width and a largest height; returns the height. The scale is the same in every view. */
  size(width, most) {
    const [n, c, p] = this.block.sizes;
    const scale = Math.min((width - 2 * MARGIN) / Math.hypot(n, c), (most - 2 * MARGIN) / Math.hypot(n, c, p));
    const height = Math.min(most, Math.ceil(Math.hypot(n, c, p) * scale + 2 * MARGIN));
    this.frame = {
      width, height, left: 0, top: 0, across: width, down: height,
      pixel: (x, y) => [width / 2 + x * scale, height / 2 - y * scale],
      plane: (across, below) => [(across - width / 2) / scale, (height / 2 - below) / scale],
    };
    this.project();
    return height;
  }

  /** Rotate the block to the right and up, in radians. */
  turn(right, up) {
    this.view.azimuth -= right;
    this.view.elevation = Math.min(Math.max(this.view.elevation - up, -Math.PI / 2), Math.PI / 2);
    this.project();
  }

  reset() {
    this.view = { ...START };
    this.project();
  }

  /** Project the sides to the plane and hide those that face away. */
  project() {
    const { azimuth, elevation } = this.view, { sizes } = this.block;
    const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
    const right = [ca, sa, 0], up = [-se * sa, se * ca, ce], towards = [ce * sa, -ce * ca, se];
    this.edges = AXES.map((axis) => [dot(axis, right), dot(axis, up)]);
    this.place = (point) => {
      const from = point.map((at, axis) => at - sizes[axis] / 2);
      return [0, 1].map((k) => dot(from, this.edges.map((edge) => edge[k])));
    };
    for (const face of this.faces) {
      face.origin = this.place(sizes.map((size, axis) => (axis === face.axis && face.end ? size : 0)));
      [face.down, face.along] = GRID[face.axis].map((axis) => this.edges[axis]);
      face.hidden = (face.end ? 1 : -1) * dot(AXES[face.axis], towards) < 0.01;
    }
    const turned = azimuth !== START.azimuth || elevation !== START.elevation;
    this.hint.hidden = turned;
    this.button.hidden = !turned;
  }

  // ---- Cells as (n, c, p), and their positions on a side -----------------------------------------------------------

  cell({ axis, end }, row, column) {
    const cell = [0, 0, 0], [rows, columns] = GRID[axis];
    [cell[axis], cell[rows], cell[columns]] = [end ? this.block.sizes[axis] - 1 : 0, row, column];
    return cell;
  }

  /** Row and column of a cell on a side, or null if the cell does not touch that side. */
  on({ axis, end }, cell) {
    return cell[axis] === (end ? this.block.sizes[axis] - 1 : 0) ? GRID[axis].map((k) => cell[k]) : null;
  }

  /** The neighbor of a cell in a direction on the screen, continuing on the adjacent side at an edge. */
  next(face, cell, [below, right]) {
    const visible = this.faces.filter((other) => !other.hidden);
    const seen = visible.includes(face) ? face : cell && visible.find((other) => this.on(other, cell));
    if (!seen) return { face: visible[0], cell: this.cell(visible[0], 0, 0) };
    const lean = (axis, k) => Math.abs(this.edges[axis][k]) / Math.hypot(...this.edges[axis]);
    const [rows, columns] = GRID[seen.axis];
    const swapped = lean(columns, 0) + lean(rows, 1) < lean(columns, 1) + lean(rows, 0);
    const axis = (right !== 0) === swapped ? rows : columns;
    const step = Math.sign(right ? right * this.edges[axis][0] : -below * this.edges[axis][1]);
    const moved = cell.map((at, k) => at + (k === axis ? step : 0));
    if (moved[axis] >= 0 && moved[axis] < this.block.sizes[axis]) return { face: seen, cell: moved };
    const round = this.faces.find((other) => other.axis === axis && other.end === Number(step > 0));
    if (round.hidden) return { face: seen, cell };
    const inward = this.block.sizes[seen.axis] > 1 ? (seen.end ? -1 : 1) : 0;
    return { face: round, cell: cell.map((at, k) => at + (k === seen.axis ? inward : 0)) };
  }

  // ---- Painting ----------------------------------------------------------------------------------------------------

  paint(theme) {
    const brush = brushOf(this.canvas, this.frame);
    for (const face of this.faces) if (!face.hidden) this.paintSide(brush, face);
    brush.font = `16px ${theme.font}`;
    brush.fillStyle = theme.text;
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    this.block.sizes.forEach((_, axis) => this.paintName(brush, axis));
  }

  paintSide(brush, face) {
    const line = (path, ...corners) => corners.forEach(([i, j], k) => {
      const [x, y] = [0, 1].map((d) => face.origin[d] + j * face.along[d] + i * face.down[d]);
      path[k ? "lineTo" : "moveTo"](...this.frame.pixel(x, y));
    });
    const fills = new Map(), lines = new Path2D(), whole = new Path2D();
    for (let i = 0; i < face.rows; i++) {
      for (let j = 0, start = 0; j < face.columns; j++) {
        const color = this.colors.get(groupAt(face, i, j));
        if (j + 1 < face.columns && this.colors.get(groupAt(face, i, j + 1)) === color) continue;
        if (!fills.has(color)) fills.set(color, new Path2D());
        line(fills.get(color), [i, start], [i, j + 1], [i + 1, j + 1], [i + 1, start]);
        start = j + 1;
      }
    }
    for (let i = 0; i <= face.rows; i++) line(lines, [i, 0], [i, face.columns]);
    for (let j = 0; j <= face.columns; j++) line(lines, [0, j], [face.rows, j]);
    line(whole, [0, 0], [0, face.columns], [face.rows, face.columns], [face.rows, 0]);
    for (const [color, path] of [...fills, [`rgba(20,25,35,${SHADE[face.axis]})`, whole]]) {
      brush.fillStyle = color;
      brush.fill(path);
    }
    brush.strokeStyle = LINE;
    brush.lineWidth = 1;
    brush.stroke(lines);
  }

  /** Label an axis along one of its edges on the outline: the lowest edge, or for the positions the leftmost. */
  paintName(brush, axis) {
    const { sizes, names, labels } = this.block, others = [0, 1, 2].filter((k) => k !== axis);
    const seen = (k, end) => !this.faces[2 * k + end].hidden;
    const outline = [[0, 0], [0, 1], [1, 0], [1, 1]].filter(([a, b]) => seen(others[0], a) !== seen(others[1], b));
    const edges = outline.map((ends) => {
      const corner = sizes.map((size, k) => (k === axis ? 0 : size * ends[others.indexOf(k)]));
      const end = corner.map((at, k) => (k === axis ? sizes[axis] : at));
      return [corner, end].map((point) => this.frame.pixel(...this.place(point)));
    });
    const rank = ([from, to]) => (axis === 2 ? from[0] + to[0] : -from[1] - to[1]);
    const edge = edges.sort((a, b) => rank(a) - rank(b))[0];
    if (!edge) return;
    const [[ax, ay], [bx, by]] = edge, long = Math.hypot(bx - ax, by - ay);
    const text = brush.measureText(labels[axis]).width < long + 40 ? labels[axis] : names[axis];
    if (long < 12) return;
    const [x, y] = [(ax + bx) / 2, (ay + by) / 2], [nx, ny] = [(by - ay) / long, (ax - bx) / long];
    const away = Math.sign(nx * (x - this.frame.width / 2) + ny * (y - this.frame.height / 2)) || 1;
    let angle = Math.atan2(by - ay, bx - ax);
    if (angle >= Math.PI / 2 - 0.01) angle -= Math.PI; // never upside down; vertical labels read upwards
    if (angle < -Math.PI / 2 - 0.01) angle += Math.PI;
    brush.save();
    brush.translate(x + 14 * away * nx, y + 14 * away * ny);
    brush.rotate(angle);
    brush.fillText(text, 0, 0);
    brush.restore();
  }
}
