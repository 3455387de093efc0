// Fit each table into its frame: first with headings in several lines, then without the columns that say least (x-wide),
// then with stacked rows: the row's name first, then each value under its column's name. Tables marked data-grid are read
// across rows and columns, so they scroll instead, and fade at the edge that hides more.
"use strict";

(() => {
  const main = document.querySelector("main");
  if (!main) return;
  const LOOKS = ["snug", "lean", "stacked"]; // each adds to those before it
  const found = new WeakMap(); // how many looks each table has, and the widths that it needs with fewer

  const titleOf = (head) => head.textContent.replace(/[↑↓]/, "").trim();
  const speaks = (head, cell) => !head.querySelector(".visually-hidden") || cell.querySelector("input[type=checkbox]"); // a button says what it does

  // Store the column's name on each cell, because CSS cannot look it up.
  function label(table) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells].flatMap((head) => Array(head.colSpan).fill(head));
    for (const row of table.querySelectorAll(":scope > :is(tbody, tfoot) > tr")) {
      let at = 0;
      for (const cell of row.cells) {
        const name = cell.colSpan === 1 && heads[at] && speaks(heads[at], cell) ? titleOf(heads[at]) : "";
        if (cell.dataset.label !== name) cell.dataset.label = name;
        at += cell.colSpan;
      }
    }
  }

  function show(table, count) {
    if (count === LOOKS.length) label(table);
    LOOKS.forEach((look, at) => table.classList.toggle(look, at < count));
  }

  // A width that was too small is remembered: trying it again would make the page jump.
  function fit(table, wrap) {
    const known = found.get(table) || { count: 0, needs: LOOKS.map(() => 0) };
    const fewest = known.needs.findIndex((width) => width <= wrap.clientWidth);
    if (fewest >= 0) known.count = Math.min(known.count, fewest);
    show(table, known.count);
    while (known.count < LOOKS.length && wrap.scrollWidth > wrap.clientWidth + 1) {
      known.needs[known.count] = wrap.scrollWidth;
      show(table, ++known.count);
    }
    found.set(table, known);
  }

  function arrange() {
    scheduled = false;
    for (const table of main.querySelectorAll(".x-table-wrap > table.x-table")) {
      const wrap = table.parentElement;
      if (!wrap.clientWidth) continue; // in a closed part of the page
      if (table.tHead && table.tHead.rows.length && table.dataset.grid === undefined) fit(table, wrap);
      wrap.classList.toggle("more", wrap.scrollLeft + wrap.clientWidth < wrap.scrollWidth - 1);
    }
  }

  let scheduled = false;
  function schedule() {
    if (!scheduled) requestAnimationFrame(arrange);
    scheduled = true;
  }

  arrange();
  document.fonts.ready.then(schedule);
  new ResizeObserver(schedule).observe(main);
  main.addEventListener("scroll", schedule, { capture: true, passive: true });
  document.addEventListener("toggle", schedule, true);
  document.addEventListener("htmx:after:swap", schedule);
  new MutationObserver(schedule).observe(main, { childList: true, subtree: true });
})();
