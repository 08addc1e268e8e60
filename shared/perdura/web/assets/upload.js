"use strict";
/* Uploads with progress, straight to the object store. Large files go in parts, several at a time; what has arrived is
   not sent again, also after the page was left: the deposits that were begun are remembered in this browser. */
(() => {
  const form = document.getElementById("upload");
  if (!form || !window.fetch) return;

  const MIB = 2 ** 20;
  const WHOLE = 16 * MIB; // up to here one request does
  const AT_ONCE = 3;
  const TRIES = 5;
  const PAGE = 100;
  const MEMORY = "perdura-uploads";

  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const file = form.querySelector("#file");
  const drop = form.querySelector(".drop");
  const start = form.querySelector("#upload-start");
  const pause = form.querySelector("#upload-pause");
  const frame = document.getElementById("upload-progress");
  const bar = frame.querySelector("progress");
  const status = frame.querySelector("p");
  const problem = document.getElementById("upload-problem");
  const unfinished = document.getElementById("unfinished");
  const words = { ...form.dataset };
  const say = (name, values = {}) => words[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const mebibytes = (bytes) => (bytes / MIB).toFixed(1);

  /* What was begun in this browser, by file. */
  const named = (chosen) => `${chosen.name}|${chosen.size}|${chosen.lastModified}`;
  const remembered = () => {
    try { return JSON.parse(localStorage.getItem(MEMORY)) ?? {}; } catch { return {}; }
  };
  const remember = (name, deposit) => {
    const all = remembered();
    if (deposit) all[name] = deposit; else delete all[name];
    try { localStorage.setItem(MEMORY, JSON.stringify(all)); } catch { /* then it cannot be resumed later */ }
  };

  class Answered extends Error {
    constructor(status, message) { super(message); this.status = status; }
  }

  const call = async (path, method = "GET", body = undefined) => {
    const headers = { "X-CSRF-Token": csrf };
    if (body) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    } catch {
      throw new Answered(0, words.unreachable);
    }
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    const fields = (told.errors ?? []).map((error) => `${error.field}: ${error.message}`).join("; ");
    throw new Answered(answer.status, [told.detail, fields].filter(Boolean).join(" ") || `HTTP ${answer.status}`);
  };

  /* One upload: what is in flight, what has arrived, and whether it was told to pause. */
  class Sending {
    constructor(blob) {
      this.blob = blob;
      this.arrived = 0;
      this.flying = new Map();
      this.paused = false;
      this.began = performance.now();
      this.before = 0;
    }

    show() {
      const sent = this.arrived + [...this.flying.values()].reduce((sum, bytes) => sum + bytes, 0);
      const total = this.blob.size;
      bar.value = Math.floor((100 * sent) / total);
      const seconds = (performance.now() - this.began) / 1000;
      const rate = (sent - this.before) / Math.max(seconds, 0.1);
      status.textContent = say("sent", {
        percent: bar.value, done: mebibytes(sent), total: mebibytes(total), rate: mebibytes(rate),
        left: rate > 0 ? Math.ceil((total - sent) / rate) : "–",
      });
    }

    put(url, blob, headers = {}) {
      return new Promise((done, fail) => {
        const request = new XMLHttpRequest();
        request.open("PUT", url);
        for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
        request.upload.addEventListener("progress", (event) => {
          this.flying.set(request, Math.min(event.loaded, blob.size));
          this.show();
        });
        const over = (error) => { this.flying.delete(request); if (error) fail(error); else done(); };
        request.addEventListener("load", () => over(
          request.status < 300 ? null : new Answered(request.status, say("refused", { status: request.status }))));
        request.addEventListener("error", () => over(new Answered(0, words.unreachable)));
        request.addEventListener("abort", () => over(new Answered(0, words.paused)));
        this.flying.set(request, 0);
        request.send(blob);
      });
    }

    pause() {
      this.paused = true;
      for (const request of this.flying.keys()) request.abort();
    }

    async part(part) {
      const blob = this.blob.slice(part.offset, part.offset + part.size);
      for (let tried = 1; ; tried += 1) {
        try {
          await this.put(part.url, blob);
          break;
        } catch (error) {
          const hopeless = error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;
          if (this.paused || hopeless || tried === TRIES) throw error;
          await new Promise((done) => setTimeout(done, 500 * 2 ** tried));
          if (this.paused) throw error;
        }
      }
      this.arrived += part.size;
      this.show();
    }

    async parts(address) {
      for (let first = 1; first; ) {
        const page = await call(`${address}?first=${first}&limit=${PAGE}`);
        const here = page.items.filter((part) => part.received).reduce((sum, part) => sum + part.size, 0);
        this.arrived += here;
        this.before += here;
        const missing = page.items.filter((part) => !part.received);
        const lane = async () => { while (missing.length && !this.paused) await this.part(missing.shift()); };
        const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
        const failed = ended.find((one) => one.status === "rejected");
        if (failed) throw failed.reason;
        if (this.paused) throw new Answered(0, words.paused);
        first = page.next;
      }
    }
  }

  /* The deposit that this file was begun as, if it still takes parts; else a new one. */
  const deposit = async (chosen) => {
    const begun = remembered()[named(chosen)];
    if (begun) {
      try {
        const known = await call(begun.self);
        if (known.state === "awaiting_upload") return begun;
      } catch (error) {
        if (error.status !== 404) throw error;
      }
      remember(named(chosen), null);
    }
    const wanted = { filename: chosen.name, size: chosen.size, parts: chosen.size > WHOLE };
    const title = form.querySelector("#title").value.trim();
    if (title) wanted.title = title;
    const made = await call("/api/v1/deposits", "POST", wanted);
    if (made.links.parts) remember(named(chosen), { ...made.links, name: chosen.name, size: chosen.size });
    return { ...made.links, upload: made.upload };
  };

  let sending = null;

  const upload = async (chosen) => {
    problem.hidden = true;
    frame.hidden = false;
    start.hidden = true;
    file.disabled = true;
    bar.value = 0;
    status.textContent = words.announcing;
    try {
      const target = await deposit(chosen);
      sending = new Sending(chosen);
      pause.hidden = !target.parts;
      if (target.parts) await sending.parts(target.parts);
      else await sending.put(target.upload.url, chosen, target.upload.headers);
      pause.hidden = true;
      status.textContent = words.completing;
      const begun = await call(target.complete, "POST");
      remember(named(chosen), null);
      window.location.assign(`/archives/${begun.archive}`);
    } catch (error) {
      const paused = sending?.paused;
      sending?.pause();
      frame.hidden = !paused;
      status.textContent = paused ? words.paused : "";
      if (!paused) {
        const more = remembered()[named(chosen)] ? ` ${words.kept}` : "";
        problem.textContent = error.message + more;
        problem.hidden = false;
      }
      pause.hidden = true;
      start.hidden = false;
      file.disabled = false;
      sending = null;
      offer();
    }
  };

  /* Says on the button whether the chosen file begins or goes on, and lists what waits for its file. */
  const offer = () => {
    const all = remembered();
    const chosen = file.files[0];
    start.textContent = chosen && all[named(chosen)] ? words.resume : words.upload;
    const list = unfinished.querySelector("ul");
    list.replaceChildren(...Object.entries(all).map(([name, begun]) => {
      const item = document.createElement("li");
      const label = document.createElement("span");
      label.textContent = `${begun.name} (${mebibytes(begun.size)} MiB) `;
      const forget = document.createElement("button");
      forget.type = "button";
      forget.className = "quiet";
      forget.textContent = words.discard;
      forget.setAttribute("aria-label", `${words.discard} ${begun.name}`);
      forget.addEventListener("click", async () => {
        await call(`${begun.self}/cancel`, "POST").catch(() => null);
        remember(name, null);
        offer();
      });
      item.append(label, forget);
      return item;
    }));
    unfinished.hidden = list.children.length === 0 || sending !== null;
  };

  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name !== "drop" || file.disabled || !event.dataTransfer.files.length) return;
      file.files = event.dataTransfer.files;
      offer();
    });
  }
  file.addEventListener("change", offer);
  pause.addEventListener("click", () => sending?.pause());
  form.addEventListener("submit", (event) => {
    const chosen = file.files[0];
    if (!chosen) return;
    event.preventDefault();
    upload(chosen);
  });
  offer();
})();
