// Pointing: from a place on the screen to a cell and its group, by mouse, finger and keyboard. A press that does not
// move is a click; one that moves turns a cube. A place is {panel, side, row, column, group, role, space, ...}.

import { frame } from "./board_layout.js";
import { groupAt } from "./board_numbers.js";

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const STILL = 6; // pixels that a click may move
const TURN = 0.008; // radians a pixel
const STEP = Math.PI / 18; // radians a key

/** The place under the pointer, or null. */
function locate(board, panel, event) {
  const window = frame(panel);
  if (!window) return null;
  const box = panel.plot.getBoundingClientRect();
  const [across, below] = [event.clientX - box.left, event.clientY - box.top];
  const [x, y] = window.plane(across, below);
  if (panel.link.kind === "choices") return choice(panel, Math.floor(y + 0.5));
  const inside = across >= window.left && below >= window.top;
  if (!inside || across > window.left + window.across || below > window.top + window.down) return null;
  for (const face of panel.faces) {
    if (face.hidden) continue;
    const [dx, dy] = [x - face.origin[0], y - face.origin[1]];
    const [ux, uy] = face.along, [vx, vy] = face.down;
    const determinant = ux * vy - uy * vx;
    const column = Math.floor((dx * vy - dy * vx) / determinant), row = Math.floor((ux * dy - uy * dx) / determinant);
    const on = row >= 0 && column >= 0 && row < face.rows && column < face.columns;
    if (on) return placeAt(board, panel, face, row, column);
  }
  return null;
}

const choice = (panel, row) =>
  panel.link.values[row] === undefined ? null : { panel, row, column: 0, choice: panel.link.values[row] };

/** The cell of a face as a place. Its group is null where it has none, is padding or is in no row of a whole table. */
export function placeAt(board, panel, face, row, column) {
  const { space, role, padding } = panel.link, number = groupAt(face, row, column), side = panel.faces.indexOf(face);
  const padded = number !== null && number === padding;
  const group = number !== null && !padded && board.readout.counts(number) ? number : null;
  const cell = panel.cube?.cell(face, row, column) ?? (role === "cube" ? [row, column, 0] : undefined);
  return { panel, side, row, column, space, role, cell, padded, group };
}

/** A place in the figures as they are now, or null where it is gone. */
export function again(board, place) {
  if (!place?.panel) return place?.label === board.readout.label(place?.group) ? place : null;
  const panel = board.panels.get(place.panel.id), { row, column } = place;
  if (!panel) return null;
  if (place.choice !== undefined) return choice(panel, row)?.choice === place.choice ? place : null;
  const face = panel.faces[place.side];
  return face && row < face.rows && column < face.columns ? placeAt(board, panel, face, row, column) : null;
}

/** Listen to a panel. */
export function listen(board, panel) {
  const { plot } = panel;
  plot.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary || event.target.closest("button")) return;
    const from = [event.clientX, event.clientY];
    board.press = { panel, id: event.pointerId, from, last: from };
    if (panel.cube) plot.setPointerCapture(event.pointerId);
    board.point(locate(board, panel, event));
  });
  plot.addEventListener("pointermove", (event) => {
    const turns = panel.cube || (panel.scene && event.pointerType !== "mouse");
    if (turns && board.press?.panel === panel) turn(board, event);
    else board.point(locate(board, panel, event));
  });
  for (const name of ["touchstart", "touchmove", "touchend"]) {
    // Plotly's 3-D scenes would keep the page from scrolling.
    plot.addEventListener(name, (event) => panel.scene && event.stopPropagation(), { capture: true, passive: true });
  }
  plot.addEventListener("pointerleave", (event) => {
    if (board.press) board.press.left = true; // Plotly lays a sheet over the page while a button is down
    else if (event.pointerType === "mouse") board.point(null);
  });
  plot.addEventListener("click", (event) => {
    if (panel.cube && event.target.closest("button")) board.turned(panel, () => panel.cube.reset());
    else if (panel.link.kind === "choices") choose(board, locate(board, panel, event));
  });
  plot.addEventListener("dblclick", () => panel.cube && board.turned(panel, () => panel.cube.reset()));
  plot.addEventListener("keydown", (event) => key(board, panel, event));
  plot.addEventListener("blur", () => board.point(null));
}

/** Listen to the whole document, until the signal: a press may end anywhere, and Escape holds everywhere. */
export function listenBeyond(board, signal) {
  const finger = (event) => event.pointerType !== "mouse";
  document.addEventListener("pointerdown", (event) => {
    if (finger(event) && !board.root.contains(event.target)) board.point(null);
    const beside = board.root.contains(event.target) && !event.target.closest(".nv-plot, .nv-statistics, .nv-readout");
    if (beside) board.release();
  }, { signal });
  document.addEventListener("pointerup", (event) => lift(board, event, finger(event)), { signal, capture: true });
  document.addEventListener("pointercancel", () => {
    if (!board.press) return;
    board.press.panel.plot.classList.remove("nv-turning");
    board.press = null;
    board.point(null); // the page took the gesture, to scroll
  }, { signal });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    board.release();
    board.point(null);
  }, { signal });
}

const moved = ({ from }, event) => Math.hypot(event.clientX - from[0], event.clientY - from[1]) > STILL;

/** Turn the cube, or by finger the 3-D scene, that is dragged; what was lit when the drag began stays lit. */
function turn(board, event) {
  const { press } = board, { last, panel } = press;
  const [across, below] = [event.clientX - press.from[0], event.clientY - press.from[1]].map(Math.abs);
  if (!press.turning && (!moved(press, event) || (event.pointerType !== "mouse" && across < below))) return;
  press.turning = true;
  panel.plot.classList.add("nv-turning");
  const [right, up] = [TURN * (event.clientX - last[0]), TURN * (last[1] - event.clientY)];
  if (panel.cube) board.turned(panel, () => panel.cube.turn(right, up));
  else board.turnScene(panel, right, up);
  press.last = [event.clientX, event.clientY];
}

/** The end of a press: a click where it did not move. */
function lift(board, event, finger) {
  const { press } = board;
  if (press?.id !== event.pointerId) return;
  const { panel } = press;
  board.press = null;
  panel.plot.classList.remove("nv-turning");
  if (press.left) {
    const beyond = (move) => panel.plot.contains(move.target) || board.point(null);
    document.addEventListener("pointermove", beyond, { once: true, capture: true, signal: board.ending.signal });
  }
  if (press.turning || moved(press, event)) {
    if (finger && board.pin) board.point(null);
    return;
  }
  if (panel.link.kind === "choices") return; // its click event follows
  const place = locate(board, panel, event);
  if (place) board.toggle(place);
  else board.release();
  if (finger) board.point(null);
}

function choose(board, place) {
  if (place?.choice !== undefined) board.send("clicked", place.choice);
}

const clip = (value, size) => Math.min(Math.max(value, 0), size - 1);

function key(board, panel, event) {
  const here = board.hover?.panel === panel ? board.hover : null;
  if (event.key === "Enter" || event.key === " ") {
    if (event.target !== panel.plot || !(panel.link.kind === "choices" || here)) return;
    event.preventDefault();
    if (panel.link.kind === "choices") choose(board, here);
    else board.toggle(here, true);
    return;
  }
  const step = ARROWS[event.key];
  if (!step) return;
  event.preventDefault();
  if (panel.cube && event.shiftKey) board.turned(panel, () => panel.cube.turn(STEP * step[1], -STEP * step[0]));
  else board.point(next(board, panel, here, step), true);
}

/** The place one step on, from the one under the pointer, the pinned one or the last one. */
function next(board, panel, here, step) {
  if (panel.link.kind === "choices") return choice(panel, clip((here?.row ?? -1) + step[0], panel.link.values.length));
  const pin = board.pin?.panel === panel ? board.pin : null, from = here ?? pin;
  if (panel.cube) {
    const { face, cell } = panel.cube.next(panel.faces[from?.side], from?.cell, step);
    return placeAt(board, panel, face, ...panel.cube.on(face, cell));
  }
  const face = panel.faces[from?.side ?? 0];
  const start = from ?? (panel.link.space && board.cell) ?? { row: -1, column: 0 };
  return placeAt(board, panel, face, clip(start.row + step[0], face.rows), clip(start.column + step[1], face.columns));
}
