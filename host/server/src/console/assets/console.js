// Everything on the pages works without this script. It adds: "/" moves to the search box, the slider
// of a stream shows the state while it moves, the log grows by itself, and pages that offer it refresh
// themselves.
"use strict";

const TARGET = "refreshed";
const SLIDER_PAUSE_MS = 150;
const LIVE_ROWS_MAX = 200;

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const box = document.getElementById("q");
  if (box) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});

// Replaces the part of the page that changes with that of another address.
let newest = 0;
async function show(address) {
  const mine = ++newest;
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  const text = await answer.text();
  if (mine !== newest) {
    return false;
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  const [from, to] = [page.getElementById(TARGET), document.getElementById(TARGET)];
  if (!from || !to) {
    location.assign(address);
    return false;
  }
  to.replaceChildren(...from.childNodes);
  return true;
}

for (const form of document.querySelectorAll("form[data-slider]")) {
  const [field, range] = [form.querySelector("[type=number]"), form.querySelector("[type=range]")];
  let waiting = 0;
  const change = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const address = new URL(location.href);
      address.searchParams.set("at", field.value);
      if (await show(address)) {
        history.replaceState(null, "", address);
      }
    }, SLIDER_PAUSE_MS);
  };
  range.hidden = false;
  range.addEventListener("input", () => {
    field.value = range.value;
    change();
  });
  field.addEventListener("input", () => {
    if (field.value !== "" && field.checkValidity()) {
      range.value = field.value;
      change();
    }
  });
}

for (const button of document.querySelectorAll("button[data-follow]")) {
  let following = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    const isFollowing = following !== 0;
    clearInterval(following);
    following = isFollowing ? 0 : setInterval(() => {
      // Nobody looks, so nobody is asked; and whoever selects text or works in the table keeps it.
      const part = document.getElementById(TARGET);
      const isUsed = part.contains(document.activeElement) || !getSelection().isCollapsed;
      if (!document.hidden && !isUsed) {
        show(location.href).catch(() => {});
      }
    }, Number(button.dataset.follow) * 1000);
    button.setAttribute("aria-pressed", String(!isFollowing));
  });
}

// Follows the log. Rows come from the host as they are in the table, with everything escaped.
for (const button of document.querySelectorAll("button[data-live]")) {
  const [status, rows] = [document.getElementById("live-status"), document.querySelector(`#${TARGET} tbody`)];
  let [source, added, omitted, saying] = [null, 0, 0, 0];
  const say = (text) => {
    clearTimeout(saying);
    saying = 0;
    status.textContent = text;
  };
  const count = () => {
    saying ||= setTimeout(() => say(`${added} new events` + (omitted ? `; ${omitted} more are not shown` : "")), 1000);
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const stop = (text) => {
    close();
    button.setAttribute("aria-pressed", "false");
    say(text);
  };
  const open = () => {
    source = new EventSource(button.dataset.live);
    source.addEventListener("open", () => say("Waiting for events."));
    source.addEventListener("row", (event) => {
      const row = document.createElement("template");
      row.innerHTML = event.data;
      rows.prepend(row.content);
      while (rows.rows.length > LIVE_ROWS_MAX) {
        rows.lastElementChild.remove();
      }
      added += 1;
      count();
    });
    source.addEventListener("omitted", (event) => {
      omitted += Number(event.data);
      count();
    });
    source.addEventListener("over", (event) => stop(`It has ended: ${event.data}.`));
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) {
        stop("The host does not answer, or too many pages follow the log. Load the page to see newer events.");
      }
    });
  };
  if (!status || !rows) {
    continue;
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    const isFollowing = button.getAttribute("aria-pressed") === "true";
    if (isFollowing) {
      return stop("Paused.");
    }
    button.setAttribute("aria-pressed", "true");
    say("Connecting.");
    open();
  });
  // Nobody looks at a hidden page, so the host need not send anything.
  document.addEventListener("visibilitychange", () => {
    close();
    if (!document.hidden && button.getAttribute("aria-pressed") === "true") {
      open();
    }
  });
}
