// Finds operations on a surface's page as one types.
(function () {
  "use strict";
  var field = document.getElementById("filter");
  var rows = Array.from(document.querySelectorAll("tr[data-words]"));
  if (!field || rows.length < 8) return;
  field.parentElement.hidden = false;
  field.addEventListener("input", function () {
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    rows.forEach(function (row) {
      var fits = words.every(function (word) { return row.dataset.words.includes(word); });
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    document.querySelectorAll("section.tag").forEach(function (section) {
      section.hidden = !section.querySelector("tr[data-words]:not([hidden])");
    });
    document.getElementById("found").textContent = words.length ? shown + " of " + rows.length : "";
  });
})();
