function make(tag, parent, name = "") {
  const element = parent.appendChild(document.createElement(tag));
  if (name) element.className = name;
  return element;
}

function build(box) {
  box.replaceChildren();
  box.tiles = [];
  return box.data.rows.map((row, r) => {
    const part = make("section", box), head = make("h3", part), name = make("b", head), note = make("span", head);
    const line = make("div", part, "nv-row");
    line.style.setProperty("--n", row.maps.length);
    const tiles = row.maps.map((_, c) => {
      const cell = make("div", line), title = make("p", cell, "nv-title");
      const sentence = make("p", cell, "nv-refused"), button = make("button", cell);
      const caption = make("p", cell, "nv-caption");
      const image = make("img", button), mark = make("i", button), picked = make("i", button, "nv-picked");
      const tile = { r, c, cell, title, sentence, button, caption, image, mark, picked };
      button.type = "button";
      button.onpointermove = (event) => point(box, tile, event);
      button.onpointerleave = () => leave(box);
      button.onclick = (event) => {
        if (!box.live) return;
        const [y, x] = event.detail === 0 ? [-1, -1] : place(tile, event);
        box.press(`${r},${c},${y},${x}`);
      };
      box.tiles.push(tile);
      return tile;
    });
    return { head, name, note, tiles };
  });
}

function place(tile, event) {
  const box = tile.button.getBoundingClientRect();
  const inside = (value) => Math.min(Math.max(value, 0), 0.99999);
  return [inside((event.clientY - box.top) / box.height), inside((event.clientX - box.left) / box.width)];
}

function put(mark, [rows, columns], row, column) {
  mark.style.top = `${100 * (row + 0.5) / rows}%`;
  mark.style.left = `${100 * (column + 0.5) / columns}%`;
  mark.style.height = `${100 / rows}%`;
  mark.style.width = `${100 / columns}%`;
}

function point(box, over, event) {
  if (!box.live) return;
  const [y, x] = place(over, event);
  for (const tile of box.tiles) {
    const data = tile.data;
    if (!data.picture) continue;
    const [rows, columns] = data.cells, row = Math.floor(y * rows), column = Math.floor(x * columns);
    put(tile.mark, data.cells, row, column);
    tile.mark.className = "nv-on";
    if (data.values) tile.caption.textContent = `${data.values[row * columns + column]} here`;
  }
}

function leave(box) {
  for (const tile of box.tiles) {
    tile.mark.className = "";
    tile.caption.textContent = tile.data.caption;
  }
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const box = parentElement.querySelector(".nv-sheet");
  const shape = JSON.stringify(data.rows.map((row) => row.maps.length));
  box.data = data;
  box.live = data.live;
  box.press = (text) => setTriggerValue("clicked", text);
  box.style.setProperty("--photo", `url("${data.photo}")`);
  box.style.setProperty("--aspect", data.aspect);
  box.style.setProperty("--opacity", data.opacity);
  box.classList.toggle("nv-live", data.live);
  if (box.shape !== shape) box.built = build(box);
  box.shape = shape;
  data.rows.forEach((row, r) => {
    const { head, name, note, tiles } = box.built[r];
    name.textContent = row.heading;
    note.textContent = row.note;
    head.hidden = !row.heading && !row.note;
    row.maps.forEach((map, c) => {
      const tile = tiles[c], chosen = data.chosen && data.chosen[0] === r && data.chosen[1] === c;
      tile.data = map;
      tile.title.textContent = map.title;
      tile.sentence.textContent = map.refused;
      tile.sentence.hidden = !map.refused;
      tile.sentence.style.display = map.refused ? "" : "none";
      tile.button.style.display = map.refused ? "none" : "";
      tile.button.style.backgroundImage = map.photo ? `url("${map.photo}")` : "";
      tile.button.disabled = !data.live;
      tile.image.style.display = map.picture ? "" : "none";
      if (map.picture && tile.image.src !== map.picture) tile.image.src = map.picture;
      tile.image.alt = "";
      tile.caption.textContent = map.caption;
      tile.button.setAttribute("aria-label", [row.heading, map.title, map.caption].filter(Boolean).join(", "));
      if (data.live) tile.button.setAttribute("aria-pressed", String(Boolean(chosen)));
      tile.picked.classList.toggle("nv-on", Boolean(chosen));
      if (chosen) put(tile.picked, map.cells, data.chosen[2], data.chosen[3]);
    });
  });
}
