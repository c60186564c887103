"""Who may see the console, and who may not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from storefronts import Browse, Shop, opened

from recsys.config import ServingSettings, Settings
from recsys.web.console.admission import COOKIE

KEY = "a key with ümläuts"

PATHS = ("", "/snapshots", "/evaluation", "/users", "/items", "/map", "/rules", "/settings")


def with_key(home: Path, key: str) -> Settings:
    return Settings(home=home, serving=ServingSettings(admin_key=SecretStr(key)))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(with_key(tmp_path_factory.mktemp("locked"), KEY)) as shop:
        yield shop


def sign_in(client: httpx.Client, key: str, onward: str = "/console") -> httpx.Response:
    return client.post("/console/sign-in", data={"key": key, "next": onward})


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_a_page_without_the_key(locked: Shop, path: str) -> None:
    reply = httpx.get(f"{locked.url}/console{path}")
    assert reply.status_code == 303
    assert reply.headers["location"] == f"/console/sign-in?next=/console{path}"
    if path:
        reply = httpx.post(f"{locked.url}/console{path}", data={"a": "b"})
        assert reply.status_code == 401


def test_the_key_opens_the_console_in_this_browser_until_it_signs_out(
    locked: Shop, browse: Browse, size: str
) -> None:
    visit = browse(locked.url + "/console", size)
    visit.show("console-sign-in")
    assert visit.barriers() == []
    visit.page.fill("#key", "another key")
    visit.page.click("text=Sign in >> nth=-1")
    assert visit.page.get_by_text("This is not the key").is_visible()
    visit.forgive("401")
    visit.page.fill("#key", KEY)
    visit.page.click("text=Sign in >> nth=-1")
    visit.page.wait_for_url("**/console")
    assert visit.page.locator("h1").inner_text() == "Overview"
    visit.page.click("text=Sign out")
    visit.page.wait_for_url("**/console/sign-in")
    visit.page.goto(locked.url + "/console")
    assert visit.page.locator("h1").inner_text() == "Sign in"


def test_what_was_asked_for_is_shown_after_signing_in_and_nothing_of_another_site(
    locked: Shop,
) -> None:
    with httpx.Client(base_url=locked.url) as client:
        for asked, shown in (
            ("/console/rules", "/console/rules"),
            ("https://elsewhere.example/console/", "/console"),
            ("//elsewhere.example", "/console"),
            ("/console//elsewhere.example", "/console"),
        ):
            assert sign_in(client, KEY, asked).headers["location"] == shown


def test_a_cookie_is_good_only_as_it_was_given_and_while_the_key_is_the_same(
    locked: Shop, tmp_path: Path
) -> None:
    with httpx.Client(base_url=locked.url) as client:
        sign_in(client, KEY)
        cookie = client.cookies[COOKIE]
        assert client.get("/console").status_code == 200
    until, _, signature = cookie.partition(".")
    assert KEY not in cookie
    for forged in ("", ".", "1.", f"{int(until) + 1}.{signature}", f"{until}.", f"x.{signature}"):
        reply = httpx.get(f"{locked.url}/console", headers={"Cookie": f"{COOKIE}={forged}"})
        assert reply.status_code == 303, forged
    with opened(with_key(tmp_path, "a new key")) as other:
        reply = other.client.get("/console", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert reply.status_code == 303


def test_a_cookie_ends(locked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.web.console.admission.SECONDS", -1)
    with httpx.Client(base_url=locked.url) as client:
        reply = sign_in(client, KEY)
    sent = reply.headers["set-cookie"].partition(";")[0]
    assert httpx.get(f"{locked.url}/console", headers={"Cookie": sent}).status_code == 303


def test_without_a_key_it_is_closed_to_other_machines_and_other_names(shop: Shop) -> None:
    for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "rebound.example"}):
        reply = shop.client.get("/console", headers=headers)
        assert reply.status_code == 403
        assert "serving.admin_key" in reply.text
        assert "Snapshots" not in reply.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_are_refused(shop: Shop, headers: dict[str, str]) -> None:
    reply = shop.client.post("/console/sign-out", headers=headers)
    assert reply.status_code == 403
    assert "another site" in reply.text
    assert "Try again" not in reply.text


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"data": {f"a{n}": "1" for n in range(500)}}, 400, "Too many fields"),
        ({"data": {"key": "x" * 2**21}}, 400, "exceeded maximum size"),
        ({"files": {"key": ("key.txt", KEY.encode())}}, 400, "Too many files"),
        ({"content": b"?", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
def test_a_form_that_cannot_be_read_is_told_on_a_page(
    locked: Shop, form: dict[str, Any], status: int, said: str
) -> None:
    reply = httpx.post(f"{locked.url}/console/sign-in", **form)
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/html")
    assert said in reply.text


def test_a_key_of_half_characters_is_a_wrong_one(locked: Shop) -> None:
    kind = "multipart/form-data; boundary=B; charset=unicode_escape"
    body = b'--B\r\nContent-Disposition: form-data; name="key"\r\n\r\n\\ud800\r\n--B--\r\n'
    reply = httpx.post(
        f"{locked.url}/console/sign-in", content=body, headers={"Content-Type": kind}
    )
    assert reply.status_code == 401


def test_who_asks_for_the_head_of_a_page_is_answered_as_for_the_page(locked: Shop) -> None:
    reply = httpx.head(f"{locked.url}/console/rules", headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.headers["location"] == "/console/sign-in?next=/console/rules"
    with httpx.Client(base_url=locked.url) as client:
        sign_in(client, KEY)
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert client.head("/console/rules", headers=headers).status_code == 200


def test_a_method_that_no_page_takes_is_refused_with_those_it_takes(locked: Shop) -> None:
    reply = httpx.put(f"{locked.url}/console/settings")
    assert reply.status_code == 405
    assert "GET" in reply.headers["allow"]


def test_every_page_forbids_what_is_not_its_own(shop: Shop) -> None:
    for path in PATHS:
        reply = shop.client.get(f"/console{path}")
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
        assert reply.headers["cache-control"] == "no-store"
