// Follows the rebuild that runs, whoever started it, and shows what is kept once it has ended.

const OFTEN = 1000;
const SELDOM = 10000;

const form = document.getElementById("rebuild-form");
const said = document.getElementById("rebuild-said");
let leaving = false;

document.addEventListener("submit", (event) => {
  leaving = leaving || !event.defaultPrevented;
});

form.addEventListener("submit", () => {
  form.querySelector("button").textContent = "Starting"; // its process takes a few seconds to begin
});

async function fetched(address) {
  const reply = await fetch(address);
  if (!reply.ok || reply.redirected) return null; // no longer signed in
  return new DOMParser().parseFromString(await reply.text(), "text/html");
}

function put(page, id) {
  const place = document.getElementById(id);
  const next = page.getElementById(id);
  if (place.querySelector("details[open]")) next.querySelector("details")?.setAttribute("open", "");
  const held = place.contains(document.activeElement);
  place.replaceWith(next);
  if (held) next.querySelector("summary, a, button")?.focus({ preventScroll: true });
}

function announce({ says }) {
  if (said.textContent !== says) said.textContent = says;
}

// Gives whether it is still worth asking.
async function look() {
  const before = document.getElementById("rebuild").dataset;
  const part = await fetched("/console/snapshots/rebuild");
  if (part === null || leaving) return false;
  const now = part.getElementById("rebuild").dataset;
  const running = now.state === "running";
  const news = now.state !== before.state || now.began !== before.began;
  if (running || news) {
    put(part, "rebuild");
    announce(now);
  }
  form.querySelector("fieldset").disabled = running;
  if (news && !running) {
    const page = await fetched(location.href);
    if (page === null) return false;
    for (const id of ["kept", "history"]) put(page, id);
  }
  return true;
}

async function follow() {
  let goesOn = true;
  try {
    goesOn = !leaving && (await look());
  } catch {
    // the server is being started anew, or the network is away: it is asked again
  }
  if (goesOn) setTimeout(follow, pause());
}

function pause() {
  return document.getElementById("rebuild").dataset.state === "running" ? OFTEN : SELDOM;
}

setTimeout(follow, pause());
