// Tables sort by a click on a column name. Cells of the confusion matrix list their utterances.
"use strict";

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/,/g, "").replace("−", "-").replace("< ", ""));
  return /^[<+\-−]?\s?[\d.]/.test(text) && !Number.isNaN(number) ? number : text.toLowerCase();
}

function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}

function sort(table, heading, column) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const body = table.tBodies[0];
  const rows = [...body.rows].filter((row) => !row.classList.contains("strong"));
  const sums = [...body.rows].filter((row) => row.classList.contains("strong"));
  rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column)) * (descending ? -1 : 1));
  body.append(...rows, ...sums);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length < 3) continue;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading, column));
    heading.append(button);
  });
}

const panel = document.getElementById("cell");
const stored = document.getElementById("cells");
const cells = stored ? JSON.parse(stored.textContent) : {};

function play(id) {
  const audio = [...document.querySelectorAll("audio")].find((each) => each.dataset.id === id);
  if (!audio) return null;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "▶";
  button.setAttribute("aria-label", `Play ${id}`);
  button.addEventListener("click", () => audio.play());
  return button;
}

function open(button) {
  const utterances = cells[button.dataset.cell] || [];
  const title = document.createElement("h3");
  title.textContent = button.getAttribute("aria-label");
  const list = document.createElement("ul");
  for (const [id, speaker, confidence] of utterances) {
    const item = document.createElement("li");
    const sound = play(id);
    if (sound) item.append(sound, " ");
    item.append(`${id} (confidence ${confidence}${speaker ? `, speaker ${speaker}` : ""})`);
    list.append(item);
  }
  const note = document.createElement("p");
  note.textContent = "The most confident ones. predictions.csv lists all.";
  panel.replaceChildren(title, list, note);
  panel.hidden = false;
  for (const other of document.querySelectorAll("button[data-cell]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

for (const button of document.querySelectorAll("button[data-cell]")) {
  button.addEventListener("click", () => open(button));
}

const toggle = document.getElementById("counts");
if (toggle) {
  toggle.addEventListener("change", () => {
    for (const button of document.querySelectorAll("button[data-count]")) {
      const shown = button.textContent;
      button.textContent = button.dataset.count;
      button.dataset.count = shown;
    }
  });
}
