// Dash pages handle failed calls like all other pages: an ended session leads to the log-in page, and a failed call shows
// a toast.
"use strict";

(() => {
  const plain = window.fetch;
  window.fetch = async (...request) => {
    let response;
    try {
      response = await plain(...request);
    } catch (error) {
      toast("No connection", "The server cannot be reached. The charts may be out of date.");
      throw error;
    }
    const logIn = response.status === 401 ? response.headers.get("X-Exchequer-Log-In") : null;
    if (logIn) {
      window.location.assign(logIn);
      return new Promise(() => {}); // draw nothing: the browser is leaving the page
    }
    if (response.status >= 400) {
      const id = response.headers.get("X-Request-ID");
      toast("Request failed", "The charts may be out of date. Reload the page." + (id ? " Request ID: " + id : ""));
    }
    return response;
  };

  function toast(title, text) {
    document.dispatchEvent(new CustomEvent("exchequer:toast", { detail: { title, text } }));
  }
})();
