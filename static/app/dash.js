// What the calls of a Dash page share with every other page: a session that has ended leads to the log-in, and a call
// that failed does not look like nothing.
"use strict";

(() => {
  const plain = window.fetch;
  window.fetch = async (...asked) => {
    let answer;
    try {
      answer = await plain(...asked);
    } catch (failure) {
      say("No connection", "The server could not be reached. What is shown may be old.");
      throw failure;
    }
    const logIn = answer.status === 401 ? answer.headers.get("X-Exchequer-Log-In") : null;
    if (logIn) {
      window.location.assign(logIn);
      return new Promise(() => {}); // nothing is drawn any more: the page is being left
    }
    if (answer.status >= 400) {
      const id = answer.headers.get("X-Request-ID");
      say("That did not work", "What is shown may be old. Reload the page." + (id ? " Request " + id : ""));
    }
    return answer;
  };

  function say(title, text) {
    document.dispatchEvent(new CustomEvent("exchequer:toast", { detail: { title, text } }));
  }
})();
