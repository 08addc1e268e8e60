"use strict";
/* Makes the pages nicer; every one of them works without it. */
(() => {
  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

  /* Uploads: announce, send straight to the object store with progress, complete. */
  const form = document.getElementById("upload");
  if (form && window.fetch) {
    const file = form.querySelector("#file");
    const drop = form.querySelector(".drop");
    const frame = document.getElementById("upload-progress");
    const bar = frame.querySelector("progress");
    const words = frame.querySelector("p");
    const problem = document.getElementById("upload-problem");
    const button = form.querySelector("button");

    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) file.files = event.dataTransfer.files;
      });
    }

    const call = async (path, body) => {
      const headers = { "X-CSRF-Token": csrf };
      if (body) headers["Content-Type"] = "application/json";
      const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
      const told = await answer.json();
      if (answer.ok) return told;
      const fields = (told.errors ?? []).map((error) => `${error.field}: ${error.message}`).join("; ");
      throw new Error([told.detail, fields].filter(Boolean).join(" "));
    };

    const send = (upload, blob) => new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      request.open(upload.method, upload.url);
      for (const [name, value] of Object.entries(upload.headers)) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        const percent = Math.floor((100 * event.loaded) / event.total);
        bar.value = percent;
        words.textContent = `${percent} % sent`;
      });
      request.addEventListener("load", () => request.status < 300
        ? done() : fail(new Error(`The store answered ${request.status}.`)));
      request.addEventListener("error", () => fail(new Error("The store could not be reached.")));
      request.addEventListener("abort", () => fail(new Error("The upload was broken off.")));
      request.send(blob);
    });

    form.addEventListener("submit", async (event) => {
      const chosen = file.files[0];
      if (!chosen) return;
      event.preventDefault();
      problem.hidden = true;
      frame.hidden = false;
      button.disabled = true;
      bar.value = 0;
      words.textContent = "Announcing…";
      try {
        const title = form.querySelector("#title").value.trim();
        const wanted = { filename: chosen.name, size: chosen.size };
        if (title) wanted.title = title;
        const deposit = await call("/api/v1/deposits", wanted);
        await send(deposit.upload, chosen);
        words.textContent = "Sent. Beginning the ingest…";
        const begun = await call(deposit.links.complete);
        window.location.assign(`/archives/${begun.archive}`);
      } catch (error) {
        frame.hidden = true;
        button.disabled = false;
        problem.textContent = error.message;
        problem.hidden = false;
      }
    });
  }

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
  document.addEventListener("htmx:error", () => lost("The server does not answer. Trying again…"));
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail?.ctx?.response?.raw?.status ?? 0;
    lost(status >= 500 ? "The server cannot answer just now. Trying again…" : `The server refused (${status}). Load the page again.`);
  });
  document.addEventListener("htmx:after:swap", found);
})();
