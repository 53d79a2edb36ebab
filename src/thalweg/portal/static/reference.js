// Starts the reference viewer with this page's settings, and keeps it in the page's colours.
(function () {
  "use strict";
  var root = document.getElementById("reference");
  var configuration = JSON.parse(document.getElementById("reference-configuration").textContent);
  if (!window.Scalar) return;
  root.textContent = "";
  function dressed() {
    return Object.assign({}, configuration, { forceDarkModeState: document.documentElement.dataset.theme });
  }
  var viewer = window.Scalar.createApiReference(root, dressed());
  document.addEventListener("thalweg-theme", function () {
    viewer.updateConfiguration(dressed());
  });
})();
