// Fetches this page again every few seconds and exchanges its middle where it changed.
// Nothing happens while the page is hidden, or while somebody fills in a form or selects text; opened details stay
// open; a service that is away is told in the footer and asked again.
"use strict";

const stale = document.getElementById("stale");

// A field in use, a field that was changed, or a selection.
function isBusy(here) {
  const active = document.activeElement;
  if (here.contains(active) && active.matches("input, textarea, select")) return true;
  const changed = (field) => field.type !== "hidden" && field.defaultValue !== undefined && field.value !== field.defaultValue;
  if ([...here.querySelectorAll("input, textarea")].some(changed)) return true;
  return document.getSelection().type === "Range" && here.contains(document.getSelection().anchorNode);
}

// Fields that differ at every look (a form's own number) are no change.
function withoutKeys(element) {
  return element.outerHTML.replace(/name="once" value="[^"]*"/g, "").replace(/<details([^>]*?) open(="")?/g, "<details$1");
}

async function refresh() {
  const here = document.getElementById("live");
  const seconds = Number(here.dataset.refresh);
  if (!seconds) return;
  let wait = seconds * 1000;
  if (!document.hidden && !isBusy(here)) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const there = page.getElementById("live");
      if (!isBusy(here) && withoutKeys(there) !== withoutKeys(here)) {
        for (const one of here.querySelectorAll("details[id]")) {
          there.querySelector(`details#${CSS.escape(one.id)}`)?.toggleAttribute("open", one.open);
        }
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
