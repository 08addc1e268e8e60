"use strict";
/* Makes the pages nicer; every one of them works without it. */
(() => {
  /* Pages that follow something say so when the server does not answer, and go on by themselves. */
  let notice = null;
  const lost = (words) => {
    if (!notice) {
      notice = document.createElement("p");
      notice.className = "notice notice-warn lost";
      notice.setAttribute("role", "status");
      document.body.append(notice);
    }
    notice.textContent = words;
  };
  const found = () => { notice?.remove(); notice = null; };
  document.addEventListener("htmx:error", () => lost(document.body.dataset.lost));
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail?.ctx?.response?.raw?.status ?? 0;
    lost(status >= 500 ? document.body.dataset.failing : document.body.dataset.refused);
  });
  document.addEventListener("htmx:after:swap", found);
})();
