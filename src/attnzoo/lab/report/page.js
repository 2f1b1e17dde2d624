"use strict";
// Sorts the rows of each study by the column whose heading is pressed, and hides those that the filter leaves out.
const table = document.querySelector("table");
const heads = [...table.tHead.rows[0].cells];
const rows = [...table.querySelectorAll("tr[data-name]")];
const filter = document.getElementById("filter");
const controls = document.getElementById("controls"); // null where no network was widened

function number(row, column) {
  const given = row.cells[column].dataset.n;
  return given === undefined ? null : Number(given);
}

function compare(a, b, column, direction) {
  if (column === 0) return direction * a.dataset.name.localeCompare(b.dataset.name);
  const [x, y] = [number(a, column), number(b, column)];
  if (x === null || y === null) return (x === null) - (y === null); // rows without a number stay last
  return direction * (x - y);
}

function sort(column) {
  const now = heads[column].getAttribute("aria-sort");
  const up = now === "descending" || (now === "none" && column === 0); // numbers begin with the greatest
  heads.forEach((head) => head.setAttribute("aria-sort", "none"));
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const own = [...body.rows].filter((row) => row.dataset.name !== undefined);
    body.append(...own.sort((a, b) => compare(a, b, column, up ? 1 : -1)));
  }
}

function choose() {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of rows) {
    const text = `${row.dataset.name} ${row.dataset.study}`.toLowerCase();
    const wanted = controls === null || controls.checked || !row.classList.contains("control");
    row.hidden = !wanted || !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector(".filter output").value = `${shown} of ${rows.length} variants`;
}

heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));
[filter, controls].forEach((input) => input?.addEventListener("input", choose));
choose();
