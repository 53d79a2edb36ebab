// A sign-in in a window has ended: the page that opened the window hears of it, if it is of this very server. The
// session is in a cookie; nothing of it is said here.
(() => {
  "use strict";
  if (!window.opener) return;
  window.opener.postMessage({ type: "signed-in" }, window.location.origin);
  window.close();
})();
