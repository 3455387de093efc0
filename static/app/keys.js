// Keyboard shortcuts. Single keys are ignored while a field has the focus, or if the user disabled them.
"use strict";

(() => {
  const singleKeys = document.body.dataset.singleKeys !== "off";
  let prefix = 0;

  const typing = (element) => element.closest("input, textarea, select, [contenteditable], dialog[open]") !== null;
  const click = (selector) => { const found = document.querySelector(selector); if (found) found.click(); return found !== null; };

  function rows() { return [...document.querySelectorAll("tr[data-row]")]; }

  function choose(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.classList.contains("selected"));
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    for (const row of all) row.classList.toggle("selected", row === next);
    const link = next.querySelector("a");
    if (link) link.focus(); else next.scrollIntoView({ block: "nearest" });
  }

  // The palette: arrow keys move through the results; Enter in the search field opens the first.
  const palette = document.querySelector("#palette");
  function move(event) {
    const field = palette.querySelector("input");
    const links = [...palette.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && links[at + 1]) links[at + 1].focus();
    else if (event.key === "ArrowUp" && at >= 0) (links[at - 1] || field).focus();
    else if (event.key === "Enter" && at < 0 && links[0]) links[0].click();
    else return;
    event.preventDefault();
  }
  if (palette) palette.addEventListener("keydown", move);

  document.addEventListener("keydown", (event) => {
    if (palette && event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) click("[data-open-dialog='#palette']");
      palette.querySelector("input").select();
      return;
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const form = (event.target.closest && event.target.closest("form")) || document.querySelector("form[data-main]");
      if (form) { event.preventDefault(); form.requestSubmit(); }
      return;
    }
    if (!singleKeys || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const go = Date.now() - prefix < 1500;
    prefix = 0;
    let handled = true;
    if (go) handled = click("[data-go='" + CSS.escape(event.key) + "']");
    else if (event.key === "g") prefix = Date.now();
    else if (event.key === "/") { const search = document.querySelector("[data-search]"); if (search) search.focus(); else handled = false; }
    else if (event.key === "?") handled = click("[data-open-dialog='#keys']");
    else if (event.key === "j") choose(1);
    else if (event.key === "k") choose(-1);
    else if (event.key === "c") handled = click("[data-new-job]");
    else handled = false;
    if (handled) event.preventDefault();
  });
})();
