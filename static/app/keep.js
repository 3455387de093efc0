// Form input survives the end of a session. A form marked data-keep stores its values when the user leaves its page. A
// page marked data-unsent reports that the form of that path was not accepted; only then are the values kept. The form
// restores them when the same user sees it again. Hidden fields, passwords and files are never stored.
"use strict";

(() => {
  const PREFIX = "kept:";
  const frame = document.querySelector("[data-user]");
  const user = frame ? frame.dataset.user : "";
  const forms = [...document.querySelectorAll("form[data-keep]")];
  const nameOf = (form) => PREFIX + new URL(form.action).pathname;
  const controls = (form) => [...form.elements].filter((one) => one.name && one.matches("input, select, textarea")
    && !["hidden", "password", "file", "submit", "button"].includes(one.type));
  const stateOf = (one) => one.type === "checkbox" || one.type === "radio" ? one.checked
    : one.multiple ? [...one.selectedOptions].map((option) => option.value) : one.value;
  const idOf = (one) => one.type === "checkbox" || one.type === "radio" ? one.name + "=" + one.value : one.name;

  function read(key) {
    try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
  }
  function write(key, record) {
    try { sessionStorage.setItem(key, JSON.stringify(record)); } catch { /* storage is full or disabled */ }
  }

  // Set the values; return the controls that changed.
  function apply(form, values) {
    return controls(form).filter((one) => {
      const wanted = values[idOf(one)];
      if (wanted === undefined || JSON.stringify(wanted) === JSON.stringify(stateOf(one))) return false;
      if (one.type === "checkbox" || one.type === "radio") one.checked = wanted;
      else if (one.tagName === "SELECT") {
        const chosen = [wanted].flat();
        if (![...one.options].some((option) => chosen.includes(option.value))) return false;
        for (const option of one.options) option.selected = chosen.includes(option.value);
      } else one.value = wanted;
      const more = one.closest("details");
      if (more) more.open = true;
      return true;
    });
  }

  function restore(form, values) {
    let touched = false;
    const notify = (one) => one.dispatchEvent(new Event("change", { bubbles: true }));
    const touch = (event) => { if (event.isTrusted) touched = true; };
    form.addEventListener("input", touch);
    form.addEventListener("change", touch);
    // Fill fields that the server sends for the chosen recipe or dataset as they arrive.
    document.addEventListener("htmx:after:swap", () => { if (!touched && apply(form, values).length) notify(form); });
    const changed = apply(form, values);
    if (!changed.length) return;
    for (const one of changed) if (one.type !== "radio" || one.checked) notify(one);
    const notice = form.querySelector("[data-kept]");
    if (notice) notice.hidden = false;
  }

  // Keep the values of an unsent form; remove all others.
  function prune() {
    const marker = document.querySelector("[data-unsent]");
    const unsent = marker && marker.dataset.unsent ? new URL(marker.dataset.unsent, location.href).pathname : "";
    const ours = Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX));
    for (const key of ours) {
      const record = read(key);
      if (!record || (marker && !unsent) || (user && record.user !== user)) sessionStorage.removeItem(key);
      else if (unsent && record.page === unsent) write(key, { ...record, waits: true });
      else if (!record.waits) sessionStorage.removeItem(key);
    }
  }

  try { prune(); } catch { return; }
  // htmx processes the page in its own task, queued before this one.
  setTimeout(() => {
    for (const form of forms) {
      const record = read(nameOf(form));
      if (!record || !user) continue;
      sessionStorage.removeItem(nameOf(form));
      restore(form, record.values);
    }
  }, 0);
  addEventListener("pagehide", () => {
    for (const form of forms) {
      const values = Object.fromEntries(controls(form).map((one) => [idOf(one), stateOf(one)]));
      if (user) write(nameOf(form), { user, page: location.pathname, values });
    }
  });
})();
