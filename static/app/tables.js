// On a phone a table that does not fit is read row by row: its name first, then each value under the name of its column.
// One marked data-grid is read by rows and columns at once, and scrolls.
"use strict";

(() => {
  const phone = window.matchMedia("(max-width: 36rem)");
  const main = document.querySelector("main");
  if (!main) return;

  const wordOf = (head) => head.querySelector(".visually-hidden") ? "" : head.textContent.replace(/[↑↓]/, "").trim();

  // Each cell knows the name of its column; no rule of a style sheet can look it up.
  function label(table) {
    const names = [...table.tHead.rows[table.tHead.rows.length - 1].cells].flatMap((head) => Array(head.colSpan).fill(wordOf(head)));
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
    asked = false;
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

  let asked = false;
  function ask() {
    if (!asked) requestAnimationFrame(arrange);
    asked = true;
  }

  arrange();
  window.addEventListener("resize", ask);
  document.addEventListener("toggle", ask, true);
  document.addEventListener("htmx:after:swap", ask);
  new MutationObserver(ask).observe(main, { childList: true, subtree: true });
})();
