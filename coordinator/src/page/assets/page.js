// Follows the fleet: fetches the open page again when something happened, and
// puts its content in place. Without this script the page refreshes itself.
"use strict";
(() => {
  const live = document.getElementById("live");
  const say = (text, name) => {
    if (live.textContent !== text) live.textContent = text;
    live.className = name;
  };
  const keyOf = (element) => element && (element.id || element.getAttribute("href") || element.getAttribute("name"));
  let busy = false;
  let again = false;

  const refresh = async () => {
    if (document.hidden) { again = true; return; }
    // Nobody likes a form that is pulled away, or a selection that is lost.
    const active = document.activeElement;
    const writes = active && active.closest("form");
    const selects = String(window.getSelection()).length > 0;
    if (busy || writes || selects) { again = true; return; }
    busy = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { "accept": "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const opened = new Map([...document.querySelectorAll("main details")].map((d, i) => [i, d.open]));
      const focus = keyOf(active);
      for (const id of ["content", "foot"]) {
        const [from, to] = [fresh.getElementById(id), document.getElementById(id)];
        if (from && to && from.innerHTML !== to.innerHTML) to.innerHTML = from.innerHTML;
      }
      document.querySelectorAll("main details").forEach((d, i) => { if (opened.has(i)) d.open = opened.get(i); });
      if (focus && document.activeElement === document.body) {
        const found = [...document.querySelectorAll("main a, main summary, main [id]")].find((e) => keyOf(e) === focus);
        if (found) found.focus({ preventScroll: true });
      }
      say("live", "on");
    } catch (error) {
      say("not reachable", "off");
    }
    busy = false;
  };

  const events = new EventSource("/events");
  events.addEventListener("open", () => {
    say("live", "on");
    // Nobody told of what happened since the page was made, this reader's coming among it.
    setTimeout(refresh, 1000);
  });
  events.addEventListener("error", () => {
    say("not reachable", "off");
    // So many follow the fleet already that this page is not told: it asks.
    if (events.readyState === EventSource.CLOSED) setInterval(refresh, 15000);
  });
  events.addEventListener("change", refresh);
  events.addEventListener("tick", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
})();
