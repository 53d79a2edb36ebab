// Light or dark: as the system says, until somebody chooses. Runs before the page is drawn.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  function chosen() {
    try {
      var kept = window.localStorage.getItem("thalweg-theme");
      return kept === "light" || kept === "dark" ? kept : null;
    } catch (refused) {
      return null;
    }
  }
  function show() {
    var theme = chosen() || (system.matches ? "dark" : "light");
    root.dataset.theme = theme;
    var button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      document.getElementById("theme-says").textContent = theme === "dark" ? "Switch to light" : "Switch to dark";
    }
    document.dispatchEvent(new CustomEvent("thalweg-theme", { detail: theme }));
  }
  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", function () {
    show();
    document.getElementById("theme").addEventListener("click", function () {
      try {
        window.localStorage.setItem("thalweg-theme", root.dataset.theme === "dark" ? "light" : "dark");
      } catch (refused) {
        return;
      }
      show();
    });
  });
})();
