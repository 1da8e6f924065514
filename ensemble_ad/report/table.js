"use strict";

// Tables that can be sorted: any table.sortable, by the buttons in its head.

function cellValue(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
}

// Rows without a value stay last in either direction.
function sortRows(table, column, direction) {
  const body = table.tBodies[0];
  const sign = direction === "descending" ? -1 : 1;
  const rows = [...body.rows].sort((first, second) => {
    const [a, b] = [cellValue(first, column), cellValue(second, column)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * compare(a, b);
  });
  body.append(...rows);
  markSorted(table, column, direction);
}

function markSorted(table, column, direction) {
  for (const heading of table.tHead.rows[0].cells) {
    if (heading.hasAttribute("aria-sort")) {
      heading.setAttribute("aria-sort", heading.cellIndex === column ? direction : "none");
    }
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.parentElement;
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      sortRows(table, heading.cellIndex, direction);
      table.dispatchEvent(new CustomEvent("sorted", { detail: `${heading.cellIndex} ${direction}` }));
    });
  }
}

// The picture table: filters, order.

function connectPictures(table) {
  const rows = [...table.tBodies[0].rows];
  const search = document.getElementById("search");
  const order = document.getElementById("order");
  const selects = [...document.querySelectorAll("[data-filter]")];

  const values = (row, key) => (key === "defects" ? JSON.parse(row.dataset.defects) : [row.dataset[key]]);
  const words = (text) => text.replaceAll("_", " ").toLowerCase();
  const text = (row) => words([row.cells[0].textContent, row.dataset.kind, row.dataset.defects].join(" "));

  function show() {
    const wanted = words(search.value.trim());
    let shown = 0;
    for (const row of rows) {
      const chosen = selects.every((select) => !select.value || values(row, select.dataset.filter).includes(select.value));
      row.hidden = !(chosen && text(row).includes(wanted));
      shown += !row.hidden;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length} pictures`;
    document.getElementById("nothing").hidden = shown > 0;
  }

  for (const select of selects) {
    const found = new Set(rows.flatMap((row) => values(row, select.dataset.filter)));
    for (const value of [...found].sort()) select.add(new Option(value.replaceAll("_", " "), value));
    select.addEventListener("change", show);
  }
  search.addEventListener("input", show);
  document.getElementById("reset").addEventListener("click", () => {
    search.value = "";
    for (const select of selects) select.value = "";
    show();
  });

  for (const heading of table.querySelectorAll("[aria-sort]")) {
    for (const direction of ["ascending", "descending"]) {
      const name = heading.textContent.trim().toLowerCase();
      order.add(new Option(`${name}, ${direction}`, `${heading.cellIndex} ${direction}`));
    }
  }
  order.addEventListener("change", () => {
    const [column, direction] = order.value.split(" ");
    if (order.value) return sortRows(table, Number(column), direction);
    table.tBodies[0].append(...rows);
    markSorted(table, null, "none");
  });
  table.addEventListener("sorted", (event) => (order.value = event.detail));

  document.querySelector(".toolbar").hidden = false;
  show();
}

// The viewer: one image large; left and right within a row, up and down within a column.

function connectViewer(table, dialog) {
  const image = dialog.querySelector("img");
  let shot = null;

  function open(button) {
    if (!button) return;
    shot = button;
    const source = button.querySelector("img");
    const row = button.closest("tr");
    image.src = source.src;
    image.alt = source.alt;
    dialog.querySelector(".caption").textContent =
      `${source.alt} · score ${row.querySelector(".score").textContent.trim()} · ${row.dataset.verdict}`;
    if (!dialog.open) dialog.showModal();
  }

  function beside(step) {
    const shots = [...shot.closest("tr").querySelectorAll(".shot")];
    return shots[shots.indexOf(shot) + step];
  }

  function above(step) {
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const row = rows[rows.indexOf(shot.closest("tr")) + step];
    return row && (row.cells[shot.closest("td").cellIndex].querySelector(".shot") ?? row.querySelector(".shot"));
  }

  const moves = {
    previous: () => open(beside(-1)),
    next: () => open(beside(1)),
    up: () => open(above(-1)),
    down: () => open(above(1)),
    close: () => dialog.close(),
  };
  const keys = { ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "up", ArrowDown: "down" };

  table.addEventListener("click", (event) => open(event.target.closest(".shot")));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    moves[event.target.closest("[data-move]")?.dataset.move]?.();
  });
  dialog.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    moves[keys[event.key]]();
  });
  dialog.addEventListener("close", () => shot.focus());
}

const pictures = document.getElementById("pictures");
if (pictures) {
  connectPictures(pictures);
  connectViewer(pictures, document.getElementById("viewer"));
}
