// On a phone, stack the rows of a table that does not fit: its name first, then each value under its column's name.
// Tables marked data-grid are read across rows and columns, so they scroll instead.
"use strict";

(() => {
  const phone = window.matchMedia("(max-width: 36rem)");
  const main = document.querySelector("main");
  if (!main) return;

  const titleOf = (head) => head.querySelector(".visually-hidden") ? "" : head.textContent.replace(/[↑↓]/, "").trim();

  // Store the column's name on each cell, because CSS cannot look it up.
  function label(table) {
    const names = [...table.tHead.rows[table.tHead.rows.length - 1].cells].flatMap((head) => Array(head.colSpan).fill(titleOf(head)));
    for (const row of table.querySelectorAll(":scope > :is(tbody, tfoot) > tr")) {
      let at = 0;
      for (const cell of row.cells) {
        const name = cell.colSpan > 1 ? "" : names[at] || "";
        if (cell.dataset.label !== name) cell.dataset.label = name;
        at += cell.colSpan;
      }
    }
  }

  function arrange() {
    scheduled = false;
    for (const table of main.querySelectorAll(".x-table-wrap > table.x-table")) {
      if (!table.tHead || !table.tHead.rows.length || table.dataset.grid !== undefined) continue;
      const wrap = table.parentElement;
      if (!phone.matches) table.classList.remove("stacked");
      else if (table.classList.contains("stacked") || wrap.scrollWidth > wrap.clientWidth + 1) {
        label(table);
        table.classList.add("stacked");
      }
    }
  }

  let scheduled = false;
  function schedule() {
    if (!scheduled) requestAnimationFrame(arrange);
    scheduled = true;
  }

  arrange();
  window.addEventListener("resize", schedule);
  document.addEventListener("toggle", schedule, true);
  document.addEventListener("htmx:after:swap", schedule);
  new MutationObserver(schedule).observe(main, { childList: true, subtree: true });
})();
