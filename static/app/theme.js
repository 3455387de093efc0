// Resolves the theme "auto" before the first paint. Charts read the cookie.
"use strict";

(() => {
  const root = document.documentElement;
  if (root.dataset.bsTheme !== "auto") return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function follow() {
    root.dataset.bsTheme = dark.matches ? "dark" : "light";
    root.classList.toggle("dark-mode", dark.matches); // the documentation of the API reads this class
    document.cookie = "scheme=" + root.dataset.bsTheme + "; path=/; samesite=lax" + (location.protocol === "https:" ? "; secure" : "");
  }
  dark.addEventListener("change", follow);
  follow();
})();
