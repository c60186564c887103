"""The widget on a page of another site: what it shows and tells, whom it is shown to, and that it does no harm."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from apis import until
from playwright.sync_api import expect
from storefronts import Browse, Shop, Visit, opened

from recsys.config import ServingSettings
from recsys.web.assets import Assets

HOST_PAGE = """<!doctype html><html lang="en"><title>A shop</title>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src {api}; connect-src {api}; img-src {api}; style-src 'unsafe-inline'">
<style>#row {{ min-height: 380px }}</style>
<meta name="viewport" content="width=device-width"><main><h1>An item</h1><p id="before">Its description.</p>
<div id="row"><script src="{api}/widget.js" {data} async></script></div>
<p id="after">The rest of the page.</p></main>"""

USER = "widget/user ü"

PLACE = {"item_id": "1", "rank": 1, "score": 1.0, "reason": "", "title": "One"}

Answer = tuple[int, bytes] | None
"""Status and body; None: the connection is closed without a word."""


@contextmanager
def served(answer: Callable[[str], Answer]) -> Iterator[str]:
    """A server that answers by path, with what any page may read. Gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self.path)
            if found is None:
                self.close_connection = True
                return
            status, body = found
            self.send_response(status)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8"
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Access-Control-Allow-Origin", "*"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Site:
    """A site of somebody else: what its one page says is set by each test."""

    page = b""
    url = ""

    def shows(self, api: str, **data: str) -> str:
        """A page with the widget of this API; the address of that page."""
        said = " ".join(f'data-{name}="{value}"' for name, value in data.items())
        self.page = HOST_PAGE.format(api=api, data=said).encode()
        return self.url


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    one = Site()
    with served(lambda path: (200, one.page) if path == "/" else (404, b"")) as one.url:
        yield one


@pytest.fixture(scope="module")
def allowed(shop: Shop, site: Site) -> Iterator[Shop]:
    """The same shop, whose widget that site may show."""
    serving = ServingSettings(poll_seconds=0.05, widget_origins=(site.url,), pages=False)
    with opened(shop.settings.model_copy(update={"serving": serving})) as one:
        yield one


def titles(visit: Visit) -> list[str]:
    expect(visit.page.locator("recsys-row li").first).to_be_visible()
    return visit.page.locator("recsys-row .title").all_inner_texts()


def test_it_shows_a_row_right_after_its_tag(
    allowed: Shop, site: Site, browse: Browse, size: str
) -> None:
    data = {"placement": "similar", "item": "space-1", "limit": "5", "heading": "More of this"}
    visit = browse(site.shows(allowed.url, **data, link="/products/{item_id}?from=row"), size)
    said = allowed.client.get("/v1/items/space-1/similar", params={"limit": 5}).json()["items"]
    assert titles(visit) == [item["title"] for item in said]
    page = visit.page
    assert (
        page.evaluate("document.querySelector('script').nextElementSibling.tagName") == "RECSYS-ROW"
    )
    hrefs = page.locator("recsys-row a").evaluate_all(
        "links => links.map(one => one.getAttribute('href'))"
    )
    assert hrefs == [f"/products/{item['item_id']}?from=row" for item in said]
    assert page.get_by_role("heading", name="More of this").is_visible()
    page.wait_for_load_state("networkidle")
    assert page.locator("recsys-row img").first.evaluate("one => one.naturalWidth") > 0
    visit.show("widget")
    assert visit.barriers() == []
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"placement": "popular"}, "/v1/items/popular?limit=6"),
        ({"placement": "trending", "limit": "3"}, "/v1/items/trending?limit=3"),
        ({"placement": "new", "limit": "many"}, "/v1/items/new?limit=6"),
        ({"placement": "recommendations", "user": "42"}, "/v1/users/42/recommendations?limit=6"),
        (
            {"placement": "similar", "item": "296", "user": "42"},
            "/v1/items/296/similar?user_id=42&limit=6",
        ),
    ],
)
def test_it_shows_what_the_api_answers(
    allowed: Shop, site: Site, browse: Browse, data: dict[str, str], path: str
) -> None:
    visit = browse(site.shows(allowed.url, **data))
    said = allowed.client.get(path).json()["items"]
    assert titles(visit) == [item["title"] for item in said]
    first = visit.page.locator("recsys-row a").first.get_attribute("href")
    assert first == f"{allowed.url}/items/{said[0]['item_id']}"


@pytest.mark.parametrize(
    "data",
    [{}, {"placement": "similar"}, {"placement": "recommendations"}, {"placement": "toString"}],
)
def test_a_tag_that_asks_for_nothing_shows_nothing(
    allowed: Shop, site: Site, browse: Browse, data: dict[str, str]
) -> None:
    page = browse(site.shows(allowed.url, **data)).page
    page.wait_for_load_state("networkidle")
    assert page.locator("recsys-row").count() == 0


def test_its_looks_are_set_from_outside(allowed: Shop, site: Site, browse: Browse) -> None:
    visit = browse(site.shows(allowed.url, placement="popular"))
    titles(visit)
    page = visit.page
    card = page.locator("recsys-row li").first
    before = card.bounding_box()
    page.evaluate("document.querySelector('main').style.setProperty('--recsys-card-width', '90px')")
    after = card.bounding_box()
    assert before and after
    assert (before["width"], after["width"]) == (168, 90)


def test_what_is_seen_and_clicked_is_told(allowed: Shop, site: Site, browse: Browse) -> None:
    visit = browse(
        site.shows(allowed.url, placement="recommendations", user=USER, link="#{item_id}")
    )
    shown = len(titles(visit))
    page = visit.page

    def told(kind: str) -> list[dict]:
        path = f"/v1/users/{USER.replace('/', '%2F')}/events"
        found = allowed.client.get(path).json()["events"]
        return [event for event in found if event["type"] == kind]

    until(lambda: len(told("impression")) == shown, 10)
    contexts = [event["context"] for event in told("impression")]
    assert {context["position"] for context in contexts} == set(range(1, shown + 1))
    assert {context["placement"] for context in contexts} == {"recommendations"}
    [recommendation] = {context["recommendation_id"] for context in contexts}
    link = page.locator("recsys-row a").nth(2)
    link.click()
    until(lambda: len(told("click")) == 1, 10)
    [click] = told("click")
    assert f"#{click['item_id']}" == link.get_attribute("href")
    expected = {"placement": "recommendations", "position": 3, "recommendation_id": recommendation}
    assert click["context"] == expected


def test_a_site_that_is_not_named_shows_nothing(shop: Shop, site: Site, browse: Browse) -> None:
    visit = browse(site.shows(shop.url, placement="popular"))
    visit.page.wait_for_load_state("networkidle")
    assert visit.page.locator("recsys-row").count() == 0
    visit.wrong = [told for told in visit.wrong if "raised" in told or "widget.js" in told]


NONSENSE: dict[str, Answer] = {
    "hangs up": None,
    "fails": (500, b"oops"),
    "has no snapshot": (503, b'{"error": {"type": "no_snapshot", "message": "no"}}'),
    "no json": (200, b"<html>"),
    "nothing": (200, b""),
    "null": (200, b"null"),
    "a number": (200, b"7"),
    "no items": (200, b'{"recommendation_id": "a"}'),
    "items that are none": (200, b'{"recommendation_id": "a", "items": 7}'),
    "empty": (200, b'{"recommendation_id": "a", "items": []}'),
    "items of nothing": (200, b'{"recommendation_id": "a", "items": [null, 1, "x", {}, []]}'),
    "items without a title": (200, b'{"recommendation_id": "a", "items": [{"item_id": "1"}]}'),
    "items without an id": (
        200,
        json.dumps({"recommendation_id": "a", "items": [PLACE | {"item_id": {"a": 1}}]}).encode(),
    ),
    "no recommendation": (200, json.dumps({"items": [PLACE]}).encode()),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_api_that_is_dead_or_mad_harms_no_page(
    site: Site, browse: Browse, nonsense: Answer
) -> None:
    script = Assets("recsys.web", "/assets").get("widget.js")
    assert script
    api = served(lambda path: (200, script.content) if path == "/widget.js" else nonsense)
    with api as url:
        visit = browse(site.shows(url, placement="popular"))
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.locator("main > *").count() == 4
        assert visit.page.locator("#after").is_visible()
    # the browser's own line about a request that failed is all there may be
    visit.wrong = [told for told in visit.wrong if not told.startswith(("failed:", "500", "503"))]
    visit.wrong = [told for told in visit.wrong if "Failed to load resource" not in told]


def test_an_api_that_is_slow_is_not_waited_for(site: Site, browse: Browse) -> None:
    script = Assets("recsys.web", "/assets").get("widget.js")
    assert script
    over = threading.Event()

    def answer(path: str) -> Answer:
        if path == "/widget.js":
            return 200, script.content
        over.wait(20)
        return 200, json.dumps({"recommendation_id": "a", "items": [PLACE]}).encode()

    with served(answer) as url:
        visit = browse(site.shows(url, placement="popular"))
        assert visit.page.locator("#after").is_visible()
        visit.page.wait_for_timeout(5_300)
        over.set()
        visit.page.wait_for_timeout(500)
        assert visit.page.locator("recsys-row").count() == 0


def test_an_api_that_is_not_there_at_all_harms_no_page(site: Site, browse: Browse) -> None:
    visit = browse(site.shows("http://127.0.0.1:9", placement="popular"))
    assert visit.page.locator("#after").is_visible()
    visit.wrong = [told for told in visit.wrong if "127.0.0.1:9" not in told and "ERR_" not in told]


def test_it_is_small_and_closed(shop: Shop) -> None:
    reply = shop.client.get("/widget.js")
    assert len(reply.content) < 10_000
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    held = shop.client.get("/widget.js", headers={"If-None-Match": reply.headers["etag"]})
    assert held.status_code == 304


ASKED = [
    "/v1/items/popular",
    "/v1/items/trending",
    "/v1/items/new",
    "/v1/items/296/similar",
    "/v1/users/42/recommendations",
]
NOT_ASKED = [
    "/v1/items/296",
    "/v1/users/42/events",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/pictures/296",
]


@pytest.mark.parametrize("path", ASKED)
def test_named_sites_may_read_what_the_widget_asks(allowed: Shop, site: Site, path: str) -> None:
    reply = allowed.client.get(path, headers={"Origin": site.url})
    assert reply.headers["access-control-allow-origin"] == site.url
    assert "access-control-allow-credentials" not in reply.headers
    other = allowed.client.get(path, headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("path", NOT_ASKED)
def test_they_may_read_nothing_else(allowed: Shop, site: Site, path: str) -> None:
    reply = allowed.client.get(path, headers={"Origin": site.url})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


def asks_first(shop: Shop, path: str, origin: str, method: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    return shop.client.options(path, headers=headers)


def test_named_sites_may_send_events_and_change_nothing_else(
    allowed: Shop, shop: Shop, site: Site
) -> None:
    reply = asks_first(allowed, "/v1/events", site.url, "POST")
    assert reply.is_success
    assert reply.headers["access-control-allow-origin"] == site.url
    assert not asks_first(allowed, "/v1/events", "https://elsewhere.example", "POST").is_success
    assert not asks_first(allowed, "/v1/items/296/similar", site.url, "DELETE").is_success
    for path in ("/v1/items", "/v1/search", "/v1/placements"):
        assert (
            "access-control-allow-origin" not in asks_first(allowed, path, site.url, "POST").headers
        )
    assert not asks_first(shop, "/v1/events", site.url, "POST").is_success


def test_an_error_can_be_read_as_well(allowed: Shop, site: Site) -> None:
    reply = allowed.client.get("/v1/items/none/similar", headers={"Origin": site.url})
    assert reply.status_code == 404
    assert reply.headers["access-control-allow-origin"] == site.url


def test_without_pages_there_are_pictures_and_the_widget(allowed: Shop) -> None:
    found = {
        path: allowed.client.get(path).status_code
        for path in ("/", "/search", "/items/296", "/widget.js", "/pictures/296")
    }
    assert found == {
        "/": 404,
        "/search": 404,
        "/items/296": 404,
        "/widget.js": 200,
        "/pictures/296": 200,
    }


@pytest.mark.parametrize(
    "name", ["*", "shop.example", "https://shop.example/", "https://*.example"]
)
def test_what_is_no_origin_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected an origin such as"):
        ServingSettings(widget_origins=(name,))
