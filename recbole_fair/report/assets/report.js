// Sorting, filtering and choosing metrics. Without this script the page shows the same rows and figures.
"use strict";

const say = (text) => { document.getElementById("status").textContent = text; };

// --- sorting: a button in each head; cells without a value stay last
const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

const compared = (left, right) => {
  const numbers = [Number(left), Number(right)];
  return numbers.some(Number.isNaN) ? left.localeCompare(right, "en", { numeric: true }) : numbers[0] - numbers[1];
};

const sortBy = (head) => {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const former = head.getAttribute("aria-sort");
  const order = former ? (former === "ascending" ? "descending" : "ascending") : head.dataset.first ?? "ascending";
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => [row, valueOf(row, column)]);
  rows.sort(([, left], [, right]) => {
    if (left === "" || right === "") return (left === "") - (right === "");
    return sign * compared(left, right);
  });
  body.append(...rows.map(([row]) => row));
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  say(`Sorted by ${head.textContent.trim()}, ${order}.`);
};

for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sortBy(head));
  head.append(button);
}

// --- filtering: model, data set and strategy
const controls = document.getElementById("controls");
const wanted = (name) => (controls.elements[name]?.value ?? "").trim().toLowerCase();

const filter = () => {
  const [model, dataset, strategy] = ["model", "dataset", "strategy"].map(wanted);
  const rows = [...document.querySelectorAll("tr[data-model]")];
  for (const row of rows) {
    row.hidden = !row.dataset.model.includes(model) || !row.dataset.strategy.includes(strategy)
      || (dataset !== "" && row.dataset.dataset !== dataset);
  }
  say(`${rows.filter((row) => !row.hidden).length} of ${rows.length} rows shown.`);
};

controls.addEventListener("input", (event) => {
  if (event.target.name === "metric") {
    for (const cell of document.querySelectorAll("[data-metric]")) {
      if (cell.dataset.metric === event.target.value) cell.hidden = !event.target.checked;
    }
    say(`${event.target.value} ${event.target.checked ? "shown" : "hidden"}.`);
  } else {
    filter();
  }
});
controls.addEventListener("submit", (event) => event.preventDefault());
controls.hidden = false;
