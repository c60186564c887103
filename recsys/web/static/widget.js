// A row of recommendations right after the tag that loads this:
//
//   <script src="https://HOST/widget.js" data-placement="similar" data-item="42" async></script>
//
// data-placement  similar (of data-item), recommendations (for data-user), popular, trending or new
// data-item       the item that others are similar to
// data-user       the viewer, if known
// data-limit      cards, 1 to 50; 6 if left out
// data-heading    stands above the row
// data-link       where a card leads, such as /products/{item_id}
//
// It lives in a shadow root, keeps nothing in the browser, and shows nothing where there is nothing to show. Its looks
// are set from outside: --recsys-card-width, --recsys-gap, --recsys-radius, --recsys-ratio, --recsys-fit, --recsys-muted,
// --recsys-surface and --recsys-focus, for `recsys-row` or anything around it.

(() => {
  const PATIENCE_MS = 5000; // What comes later would move the page under its reader.
  const SEEN_MS = 1000; // What was not in view for so long was not seen.
  const SHARE = 0.5; // Of a card that must be in view.
  const GATHER_MS = 1500; // Impressions are told together.
  const HEADINGS = { similar: "Similar items", recommendations: "Recommended for you", popular: "Popular", trending: "Trending", new: "New" };
  const LOOKS = `
    :host { display: block; contain: layout; font: inherit; color: inherit; text-align: start }
    h2 { margin: 0 0 .7em; font: inherit; font-size: 1.25em; font-weight: 650; letter-spacing: -.015em; line-height: 1.2 }
    ul { display: grid; grid-auto-flow: column; grid-auto-columns: var(--recsys-card-width, 168px); gap: var(--recsys-gap, 20px); margin: -6px; padding: 6px; list-style: none; overflow-x: auto; overscroll-behavior-x: contain; scroll-snap-type: x proximity; scroll-padding: 6px; scrollbar-width: thin }
    li { scroll-snap-align: start; min-width: 0 }
    a { display: block; color: inherit; text-decoration: none; border-radius: var(--recsys-radius, 12px) }
    a:focus-visible { outline: 2px solid var(--recsys-focus, currentColor); outline-offset: 3px }
    a:hover .title { text-decoration: underline; text-underline-offset: 3px }
    img { display: block; box-sizing: border-box; width: 100%; height: auto; aspect-ratio: var(--recsys-ratio, 3 / 4); object-fit: var(--recsys-fit, contain); border-radius: var(--recsys-radius, 12px); background: var(--recsys-surface, #fff); box-shadow: 0 0 0 1px rgb(128 128 128 / .18) }
    .title { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; margin-top: .65em; font-size: .94em; font-weight: 600; line-height: 1.3; overflow-wrap: anywhere }
    .reason { display: block; margin-top: .2em; font-size: .82em; color: var(--recsys-muted, inherit); white-space: nowrap; overflow: hidden; text-overflow: ellipsis }`;

  const tag = document.currentScript;
  if (tag?.src) run().catch(() => {}); // A shop without this row is a shop; one with an error is not.

  async function run() {
    const { origin } = new URL(tag.src);
    const { placement, item, user, heading, link = `${origin}/items/{item_id}` } = tag.dataset;
    const limit = Math.min(Math.max(Math.trunc(Number(tag.dataset.limit ?? 6)) || 6, 1), 50);
    const path = address(placement, item, user);
    if (!path) return;
    const query = new URLSearchParams({ limit });
    if (placement === "similar" && user) query.set("user_id", user);
    const asked = { credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) };
    const answer = await fetch(`${origin}${path}?${query}`, asked);
    if (!answer.ok) return;
    const said = await answer.json();
    const items = said.items.filter((one) => isText(one?.item_id) && isText(one.title)).slice(0, limit);
    if (!items.length || !isText(said.recommendation_id) || !tag.isConnected) return;
    const who = user ? { user_id: user } : { session_id: random() };
    const about = { placement, recommendation_id: said.recommendation_id };
    const cards = show(items, origin, link, heading, HEADINGS[placement]);
    watch(cards, items, (events) => tell(origin, events.map((event) => ({ ...who, ...event, context: { ...about, ...event.context } }))));
  }

  function address(placement, item, user) {
    if (placement === "similar") return item && `/v1/items/${encodeURIComponent(item)}/similar`;
    if (placement === "recommendations") return user && `/v1/users/${encodeURIComponent(user)}/recommendations`;
    return ["popular", "trending", "new"].includes(placement) && `/v1/items/${placement}`;
  }

  function isText(value) {
    return typeof value === "string" && value !== "";
  }

  function random() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function show(items, origin, link, heading, name) {
    const host = document.createElement("recsys-row");
    const root = host.attachShadow({ mode: "open" });
    const looks = new CSSStyleSheet();
    looks.replaceSync(LOOKS);
    root.adoptedStyleSheets = [looks];
    const row = element("section");
    row.setAttribute("aria-label", heading || name);
    if (heading) row.append(element("h2", heading));
    const list = element("ul");
    list.setAttribute("role", "list");
    const cards = items.map((item) => card(item, origin, link));
    list.append(...cards);
    row.append(list);
    root.append(row);
    tag.after(host);
    return cards;
  }

  function card(item, origin, link) {
    const id = encodeURIComponent(item.item_id);
    const made = element("li");
    const way = element("a");
    way.href = link.replaceAll("{item_id}", id);
    const image = new Image(300, 400);
    image.alt = "";
    image.loading = "lazy";
    image.decoding = "async";
    image.src = `${origin}/pictures/${id}`;
    way.append(image, element("span", item.title, "title"));
    if (isText(item.reason)) way.append(element("span", item.reason.replaceAll("*", ""), "reason"));
    made.append(way);
    return made;
  }

  function element(name, words = "", kind = "") {
    const made = document.createElement(name);
    made.textContent = words;
    if (kind) made.className = kind;
    return made;
  }

  function watch(cards, items, say) {
    const timers = new Map(); // card -> timer; none while the page is hidden
    const waiting = [];
    let gathering;
    const flush = () => {
      clearTimeout(gathering);
      gathering = undefined;
      if (waiting.length) say(waiting.splice(0));
    };
    const event = (card, type) => {
      const place = cards.indexOf(card);
      return { item_id: items[place].item_id, type, context: { position: place + 1 } };
    };
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { target, intersectionRatio } of entries) {
          clearTimeout(timers.get(target));
          if (intersectionRatio >= SHARE) look(target);
          else timers.delete(target);
        }
      },
      { threshold: [0, SHARE] },
    );
    const look = (card) => {
      clearTimeout(timers.get(card));
      timers.set(card, document.visibilityState === "visible" ? setTimeout(seen, SEEN_MS, card) : undefined);
    };
    const seen = (card) => {
      observer.unobserve(card);
      timers.delete(card);
      waiting.push(event(card, "impression"));
      gathering ??= setTimeout(flush, GATHER_MS);
    };
    document.addEventListener("visibilitychange", () => {
      for (const card of timers.keys()) look(card);
      if (document.visibilityState === "hidden") flush();
    });
    for (const card of cards) {
      observer.observe(card);
      const clicked = (click) => click.button < 2 && say([event(card, "click")]);
      card.addEventListener("click", clicked);
      card.addEventListener("auxclick", clicked);
    }
  }

  function tell(origin, events) {
    const headers = { "Content-Type": "application/json" };
    const said = { method: "POST", body: JSON.stringify(events), headers, credentials: "omit", keepalive: true };
    fetch(`${origin}/v1/events`, said).catch(() => {});
  }
})();
