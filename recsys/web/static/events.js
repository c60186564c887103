// What the visitor sees and does, told to the API: impressions, clicks, and the view of an item's page.

const SEEN_MS = 1000; // What was not in view for so long was not seen.
const SHARE = 0.5; // Of a card that must be in view.
const GATHER_MS = 1500; // Impressions are told together.

const viewer = document.body.dataset;
const told = new WeakSet();
const inView = new Map(); // element -> timer, or null while the page is hidden
const waiting = [];
let gathering;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, intersectionRatio } of entries) {
      if (intersectionRatio >= SHARE) look(target);
      else lookAway(target);
    }
  },
  { threshold: [0, SHARE] },
);

export function watch() {
  watchCards(document);
  const picture = document.querySelector("[data-product] .frame");
  if (picture) observer.observe(picture);
  document.addEventListener("click", clicked);
  document.addEventListener("auxclick", clicked);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      for (const target of inView.keys()) stop(target);
      flush();
    } else {
      for (const target of inView.keys()) look(target);
    }
  });
}

export function watchCards(within) {
  for (const card of within.querySelectorAll("[data-recommendation] [data-item]")) observer.observe(card);
}

export function asked() {
  const who = { session_id: viewer.session };
  if (viewer.user !== undefined) who.user_id = viewer.user;
  return who;
}

export function tell(events) {
  const who = asked();
  const body = new Blob([JSON.stringify(events.map((event) => ({ ...who, ...event })))], { type: "application/json" });
  if (!navigator.sendBeacon("/v1/events", body)) {
    fetch("/v1/events", { method: "POST", body, keepalive: true }).catch(() => {});
  }
}

function look(target) {
  if (told.has(target)) return;
  stop(target);
  const visible = document.visibilityState === "visible";
  inView.set(target, visible ? setTimeout(seen, SEEN_MS, target) : null);
}

function lookAway(target) {
  stop(target);
  inView.delete(target);
}

function stop(target) {
  clearTimeout(inView.get(target));
}

function seen(target) {
  told.add(target);
  inView.delete(target);
  observer.unobserve(target);
  const product = target.closest("[data-product]");
  if (product) {
    tell([{ item_id: product.dataset.product, type: "view" }]);
    return;
  }
  waiting.push({ item_id: target.dataset.item, type: "impression", context: context(target) });
  gathering ??= setTimeout(flush, GATHER_MS);
}

function flush() {
  clearTimeout(gathering);
  gathering = undefined;
  if (waiting.length) tell(waiting.splice(0));
}

function clicked(event) {
  if (event.type === "auxclick" && event.button !== 1) return;
  const card = event.target.closest("a[href]")?.closest("[data-item]");
  if (card) tell([{ item_id: card.dataset.item, type: "click", context: context(card) }]);
}

function context(card) {
  const { placement, recommendation } = card.closest("[data-recommendation]").dataset;
  return { placement, recommendation_id: recommendation, position: Number(card.dataset.position) };
}
