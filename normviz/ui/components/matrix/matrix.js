function make(tag, parent, text = "") {
  return parent.appendChild(Object.assign(document.createElement(tag), { textContent: text }));
}

function build(box, rows, columns, press) {
  box.replaceChildren();
  const table = make("table", box), head = make("tr", make("thead", table)), body = make("tbody", table);
  make("th", head);
  const heads = columns.map(([title, symbol]) => {
    const cell = make("th", head), span = make("span", cell, title);
    cell.scope = "col";
    make("i", span, symbol);
    return cell;
  });
  const lines = rows.map((name, i) => {
    const line = make("tr", body), label = make("th", line, name);
    label.scope = "row";
    const buttons = columns.map((_, j) => {
      const button = make("button", make("td", line));
      button.onclick = () => press(i, j);
      return button;
    });
    return { label, buttons };
  });
  return { heads, lines };
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const box = parentElement.querySelector(".nv-box"), names = JSON.stringify([data.rows, data.columns]);
  box.press = (i, j) => setTriggerValue("clicked", `${i},${j}`);
  if (box.names !== names) box.built = build(box, data.rows, data.columns, (i, j) => box.press(i, j));
  box.names = names;
  const [row, column] = data.chosen;
  box.built.heads.forEach((cell, j) => cell.classList.toggle("nv-lit", j === column));
  box.built.lines.forEach(({ label, buttons }, i) => {
    label.classList.toggle("nv-lit", i === row);
    buttons.forEach((button, j) => {
      const [text, words, kind] = data.cells[i][j];
      button.textContent = text;
      button.className = kind;
      button.title = words;
      button.setAttribute("aria-label", `${data.rows[i]}, ${data.columns[j][0]}: ${words}`);
      button.setAttribute("aria-pressed", String(i === row && j === column));
    });
  });
}
