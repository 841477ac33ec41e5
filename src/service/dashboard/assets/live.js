// Fetches this page again every few seconds and exchanges its middle where it changed.
// Nothing happens while the page is hidden; opened details stay open; a service that is away is
// told in the footer and asked again.
"use strict";

const stale = document.getElementById("stale");

async function refresh() {
  const here = document.getElementById("live");
  const seconds = Number(here.dataset.refresh);
  if (!seconds) return;
  let wait = seconds * 1000;
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const there = page.getElementById("live");
      const open = [...here.querySelectorAll("details[open]")].map((one) => one.id);
      for (const id of open) there.querySelector(`details#${CSS.escape(id)}`)?.setAttribute("open", "");
      const busy = here.contains(document.activeElement) && document.getSelection().type === "Range";
      if (!busy && there.outerHTML !== here.outerHTML) {
        const focused = here.contains(document.activeElement) && document.activeElement.getAttribute("href");
        here.replaceWith(document.adoptNode(there));
        if (focused) there.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
        document.title = page.title;
      }
      stale.textContent = "";
    } catch {
      stale.textContent = "· the service does not answer; trying again";
      wait = 5000;
    }
  }
  setTimeout(refresh, wait);
}

setTimeout(refresh, 1000);
