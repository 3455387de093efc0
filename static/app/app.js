// Small behaviours shared by every page: toasts, dialogs, toggles, tailing logs. No eval, no inline handlers.
"use strict";

(() => {
  const toasts = document.getElementById("toasts");

  function toast(title, text) {
    const box = document.createElement("div");
    box.className = "x-toast bad";
    const body = document.createElement("div");
    const strong = document.createElement("strong");
    strong.textContent = title;
    const line = document.createElement("div");
    line.textContent = text;
    body.append(strong, line);
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-close ms-auto";
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => box.remove());
    box.append(body, close);
    toasts.replaceChildren(box);
    setTimeout(() => box.remove(), 12000);
  }

  // Report a failed request that the user made. Polls stay silent: they retry on their own.
  document.addEventListener("htmx:response:error", (event) => {
    const ctx = event.detail && event.detail.ctx;
    const status = ctx && ctx.response ? ctx.response.status : 0;
    if (event.target.closest && event.target.closest("[data-poll]")) return;
    if (status === 422) return;
    const header = ctx && ctx.response && ctx.response.headers;
    const id = header && header.get ? header.get("X-Request-ID") : null;
    const text = status >= 500
      ? "The server failed. Nothing was changed. Try again in a moment."
      : "The server refused the request (" + status + "). Reload the page and try again.";
    toast("Request failed", id ? text + " Request ID: " + id : text);
  });
  document.addEventListener("exchequer:toast", (event) => toast(event.detail.title, event.detail.text));
  document.addEventListener("htmx:error", (event) => {
    if (event.target.closest && event.target.closest("[data-poll]")) return;
    toast("No connection", "The server cannot be reached. Check the network and try again.");
  });

  // A field that loads as its dialog opens waits for "opened", not for the focus: an unfocused window gives none.
  function openDialog(dialog) {
    dialog.showModal();
    for (const part of dialog.querySelectorAll("[data-opened]")) part.dispatchEvent(new CustomEvent("opened"));
  }

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const opener = at("[data-open-dialog]");
    if (opener) openDialog(document.querySelector(opener.dataset.openDialog));
    const closer = at("[data-close-dialog]");
    if (closer) closer.closest("dialog").close();
    const toggle = at("[data-toggle-class]");
    if (toggle) {
      const on = document.querySelector(toggle.dataset.target).classList.toggle(toggle.dataset.toggleClass);
      toggle.setAttribute("aria-expanded", String(on));
    }
    const copy = at("[data-copy]");
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.dataset.copy).then(() => {
        const says = copy.querySelector("[data-copy-says]");
        if (says) says.textContent = "Copied";
      });
    }
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // The tabs of a form keep the value of the one field that both forms have.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-carry] a");
    if (!link) return;
    const field = document.querySelector(link.closest("[data-carry]").dataset.carry);
    if (!field || !field.value) return;
    const place = new URL(link.href);
    place.searchParams.set(field.name, field.value);
    link.href = place.href;
  });

  // Filters and ranges apply as soon as they change.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (form) form.requestSubmit();
  });

  // A list whose rows can be chosen gets a box in its head that chooses them all; without scripts there is none.
  for (const head of document.querySelectorAll("th[data-choose]")) {
    const rows = () => [...head.closest("table").querySelectorAll("tbody input[type=checkbox]")];
    if (rows().length < 2) continue;
    const all = document.createElement("input");
    all.type = "checkbox";
    all.className = "form-check-input";
    all.setAttribute("aria-label", "Choose all");
    const follow = () => {
      const chosen = rows().filter((one) => one.checked).length;
      all.checked = chosen === rows().length;
      all.indeterminate = chosen > 0 && !all.checked;
    };
    all.addEventListener("change", () => { for (const one of rows()) one.checked = all.checked; });
    head.closest("table").addEventListener("change", (event) => { if (event.target !== all) follow(); });
    head.append(all);
    follow();
  }

  // Accept files dropped on the upload area.
  for (const area of document.querySelectorAll("[data-drop]")) {
    const input = document.getElementById(area.dataset.drop);
    const name = area.querySelector("[data-drop-name]");
    const show = () => { if (input.files.length) name.textContent = input.files[0].name; };
    input.addEventListener("change", show);
    area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
    area.addEventListener("dragleave", () => area.classList.remove("over"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("over");
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
  }

  // Keep a followed log scrolled to its end after each swap.
  function follow() {
    for (const log of document.querySelectorAll("[data-follow]")) {
      const box = document.querySelector(log.dataset.follow);
      if (!box || box.checked) log.scrollTop = log.scrollHeight;
    }
  }
  document.addEventListener("htmx:after:swap", follow);
  follow();

  // After a refused form, move the focus to the first invalid field.
  const invalid = document.querySelector("form [aria-invalid='true']");
  if (invalid) invalid.focus();
})();
