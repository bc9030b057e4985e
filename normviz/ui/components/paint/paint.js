// A photo on which a region can be painted cell by cell, with a brush or a box, by mouse, touch or keyboard.
//
// The element stays while Python reruns the page. A region is a grid of `rows` x `columns` cells in row-major order. It
// is sent to Python as run lengths in base 36, separated by dots, alternating between unpainted and painted cells. Python
// sends back the region to show: one set by the page, or one painted here. A region that was reported from here is
// ignored, as applying it would undo later strokes.

const HELP = "Arrow keys move the square, space paints, Delete erases, plus and minus change its size, Z undoes.";

const encode = (cells) => {
  const runs = [];
  let value = 0, length = 0;
  for (const cell of cells) {
    if (cell !== value) { runs.push(length.toString(36)); value = cell; length = 0; }
    length++;
  }
  return value ? [...runs, length.toString(36)].join(".") : runs.join(".");
};

const decode = (text, count) => {
  const cells = new Uint8Array(count);
  let at = 0, value = 0;
  for (const run of text ? text.split(".") : []) {
    cells.fill(value, at, at += parseInt(run, 36));
    value = 1 - value;
  }
  return cells;
};

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".nv-paint");
  root.painter ??= new Painter(root);
  root.painter.send = (text) => setStateValue("region", text);
  root.painter.show(data);
}

class Painter {
  constructor(root) {
    this.find = (name) => root.querySelector(`.${name}`);
    this.canvas = this.find("stage");
    this.pen = this.canvas.getContext("2d");
    this.reported = new Set();
    this.chosen = null;
    this.canvas.setAttribute("aria-label", `Photo to paint on. ${HELP}`);
    this.canvas.onpointerdown = (event) => this.start(event);
    this.canvas.onpointermove = (event) => this.drag(event);
    this.canvas.onpointerup = () => this.finish(true);
    this.canvas.onpointercancel = () => this.finish(false);
    this.canvas.onkeydown = (event) => this.key(event);
    this.canvas.onfocus = this.canvas.onblur = () => this.draw();
    this.find("undo").onclick = () => this.undo();
    this.find("clear").onclick = () => { this.remember(); this.cells.fill(0); this.changed(); };
    this.find("width").oninput = () => this.draw();
  }

  get tool() { return this.find("tools").querySelector(":checked").value; }
  get width() { return Number(this.find("width").value); }

  show(data) {
    if (!this.photo) this.load(data);
    const echo = data.chosen ? data.region === this.chosen : this.reported.has(data.region);
    this.chosen = data.chosen ? data.region : null;
    if (echo) return;
    this.reported = new Set([data.region]);
    this.first = null;
    this.undone = [];
    this.cells = decode(data.region, this.rows * this.columns);
    this.draw();
    this.announce();
  }

  load(data) {
    this.rows = data.rows;
    this.columns = data.columns;
    this.at = [this.rows >> 1, this.columns >> 1];
    this.find("width").max = Math.max(2, Math.min(this.rows, this.columns) >> 1);
    this.photo = new Image();
    this.photo.onload = () => {
      this.canvas.width = this.photo.naturalWidth;
      this.canvas.height = this.photo.naturalHeight;
      this.draw();
    };
    this.photo.src = data.photo;
  }

  // --------------------------------------------------------------------------------------------------- the cells
  cell(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (part, count) => Math.max(0, Math.min(count - 1, Math.floor(part * count)));
    return [
      place((event.clientY - box.top) / box.height, this.rows),
      place((event.clientX - box.left) / box.width, this.columns),
    ];
  }

  // The square of the brush's width around a cell, shifted to lie inside the photo.
  square([row, column]) {
    const half = (this.width - 1) >> 1;
    const begin = (at, count) => Math.max(0, Math.min(count - this.width, at - half));
    const top = begin(row, this.rows), left = begin(column, this.columns);
    return [top, left, top + this.width - 1, left + this.width - 1];
  }

  set([top, left, bottom, right], value) {
    for (let row = top; row <= Math.min(bottom, this.rows - 1); row++) {
      this.cells.fill(value, row * this.columns + left, row * this.columns + Math.min(right, this.columns - 1) + 1);
    }
  }

  line(from, to) {
    const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    for (let step = 0; step <= steps; step++) {
      const between = from.map((start, axis) => Math.round(start + (to[axis] - start) * step / steps));
      this.set(this.square(between), this.tool === "erase" ? 0 : 1);
    }
  }

  span(a, b) { return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])]; }

  // ------------------------------------------------------------------------------------------------ the pointer
  start(event) {
    if (event.button !== 0 || !this.cells) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.first = this.last = this.cell(event);
    if (this.tool !== "box") this.line(this.first, this.first);
    this.draw();
  }

  drag(event) {
    const now = this.cell(event);
    if (this.first && this.tool !== "box") this.line(this.last, now);
    this.at = now;
    if (this.first) { this.last = now; this.draw(); }
  }

  finish(keep) {
    if (!this.first) return;
    if (keep && this.tool === "box") this.set(this.span(this.first, this.last), 1);
    if (!keep) this.cells = this.undone.pop();
    this.first = null;
    this.changed();
  }

  key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const limits = [this.rows, this.columns];
      this.at = this.at.map((value, axis) => Math.max(0, Math.min(limits[axis] - 1, value + move[axis])));
    } else if (event.key === " " || event.key === "Delete" || event.key === "Backspace") {
      this.remember();
      this.set(this.square(this.at), event.key === " " ? 1 : 0);
      this.changed();
    } else if (event.key === "+" || event.key === "-") {
      this.find("width").value = this.width + (event.key === "+" ? 1 : -1);
    } else if (event.key.toLowerCase() === "z") {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
    this.draw();
    this.announce(`Square at row ${this.at[0]}, column ${this.at[1]}. `);
  }

  remember() { this.undone = [...this.undone.slice(-49), this.cells.slice()]; }

  undo() {
    if (!this.undone.length) return;
    this.cells = this.undone.pop();
    this.changed();
  }

  // --------------------------------------------------------------------------------------------------- the output
  changed() {
    this.draw();
    this.announce();
    const region = encode(this.cells);
    this.reported.add(region);
    this.send(region);
  }

  announce(before = "") {
    const share = this.cells.reduce((sum, cell) => sum + cell, 0) / this.cells.length;
    const painted = share ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}% of the photo is painted.` : "";
    this.find("status").textContent = before + (painted || "Nothing is painted yet: drag over the photo.");
    this.find("undo").disabled = !this.undone.length;
    this.find("clear").disabled = !share;
  }

  draw() {
    const { pen, canvas, rows, columns } = this;
    if (!this.photo?.complete || !canvas.width) return;
    const high = canvas.height / rows, wide = canvas.width / columns;
    pen.drawImage(this.photo, 0, 0);
    const inside = (row, column) =>
      row >= 0 && column >= 0 && row < rows && column < columns && this.cells[row * columns + column];
    pen.fillStyle = "rgba(217, 98, 43, .5)";
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        if (!inside(row, column)) continue;
        const [left, top] = [column * wide, row * high].map(Math.round);  // whole pixels, to avoid seams between cells
        pen.fillRect(left, top, Math.round((column + 1) * wide) - left, Math.round((row + 1) * high) - top);
      }
    }
    pen.beginPath();
    for (let row = 0; row <= rows; row++) {
      for (let column = 0; column <= columns; column++) {
        const here = !inside(row, column);
        if (here === !!inside(row - 1, column)) { pen.moveTo(column * wide, row * high); pen.lineTo((column + 1) * wide, row * high); }
        if (here === !!inside(row, column - 1)) { pen.moveTo(column * wide, row * high); pen.lineTo(column * wide, (row + 1) * high); }
      }
    }
    this.stroke();
    const focused = canvas.matches(":focus-visible");
    const frame = this.first ? this.tool === "box" && this.span(this.first, this.last) : focused && this.square(this.at);
    if (frame) {
      const [top, left, bottom, right] = frame;
      pen.beginPath();
      pen.rect(left * wide, top * high, (right - left + 1) * wide, (bottom - top + 1) * high);
      this.stroke([6, 4]);
    }
  }

  // White on black, visible on any photo.
  stroke(dash = []) {
    const unit = this.canvas.width / 448;
    for (const [color, width, pattern] of [["#000", 3, []], ["#fff", 1.5, dash]]) {
      this.pen.strokeStyle = color;
      this.pen.lineWidth = width * unit;
      this.pen.setLineDash(pattern.map((part) => part * unit));
      this.pen.stroke();
    }
    this.pen.setLineDash([]);
  }
}
