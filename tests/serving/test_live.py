"""A running server follows what is published, and survives what should not have been."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import worlds
from apis import Api, running, served_quickly, until

from recsys.catalogue.database import connect, migrate
from recsys.config import EventSettings, Settings
from recsys.serving.schemas import SlateReply
from recsys.snapshot import Artefacts


def serving(client: httpx.Client) -> str:
    return client.get("/health/ready").json().get("snapshot", "none")


def metric(client: httpx.Client, start: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(start)]
    assert len(lines) == 1, lines
    return float(lines[0].rsplit(" ", 1)[1])


COMPILED = """
import sys
from fastapi.testclient import TestClient
from recsys.config import load_settings
from recsys.ranking import kernels
from recsys.serving.app import create_app

def compiled():
    programs = {name: getattr(found, "signatures", ()) for name, found in vars(kernels).items()}
    return {name: set(kinds) for name, kinds in programs.items() if kinds}

with TestClient(create_app(load_settings())) as client:
    before = compiled()
    for address in sys.argv[1:]:
        client.get(address).raise_for_status()
    assert "read_histories" in before
    assert compiled() == before, compiled()
"""


def test_nobody_waits_for_a_program_to_be_compiled(api: Api) -> None:
    """What a process has compiled or loaded before it is ready is all it ever needs."""
    api.post("/v1/events", {"user_id": "ann", "item_id": "296", "type": "view"})
    asked = [
        *("/v1/users/42/recommendations", "/v1/users/ann/recommendations?category=Crime"),
        *("/v1/users/nobody/recommendations?diversity=0.5", "/v1/items/296/similar?user_id=1"),
        *("/v1/items/296/similar", "/v1/items/296/similar?by=text", "/v1/items/popular"),
        *("/v1/items/trending", "/v1/items/new?limit=50&exclude=296"),
    ]
    environment = os.environ | {
        "RECSYS_HOME": str(api.settings.home),
        "RECSYS_DATABASE__URL": api.settings.database_url,
        "RECSYS_EMBEDDING__TEXT_MODEL": "none",
    }
    subprocess.run([sys.executable, "-c", COMPILED, *asked], env=environment, check=True)


def test_the_first_snapshot_is_picked_up_without_a_restart(
    migrated_settings: Settings, artefacts: Artefacts
) -> None:
    with running(served_quickly(migrated_settings)) as client:
        assert client.get("/health/ready").status_code == 503
        snapshot = worlds.publish(migrated_settings.home, artefacts)
        until(lambda: serving(client) == snapshot)
        assert client.get("/v1/items/popular").json()["snapshot"] == snapshot


def test_a_new_snapshot_and_a_rollback_are_picked_up(api: Api) -> None:
    newer = worlds.publish(api.settings.home, api.artefacts)
    until(lambda: serving(api.client) == newer)
    assert api.snapshots.rollback() == api.snapshot
    until(lambda: serving(api.client) == api.snapshot)
    lines = api.client.get("/metrics").text.splitlines()
    told = [line for line in lines if line.startswith("recsys_snapshot_info{")]
    in_use = [line for line in told if line.endswith(" 1.0")]
    assert len(told) == 2
    assert len(in_use) == 1
    assert f'snapshot="{api.snapshot}"' in in_use[0]


def test_new_items_are_recommended_after_the_next_build(api: Api) -> None:
    api.post("/v1/items", {"id": "b/2", "title": "Robot planet", "categories": ["Space"]})
    newer = worlds.publish(api.settings.home, worlds.build(api.engine, api.settings))
    until(lambda: serving(api.client) == newer)
    assert "b/2" in api.ids("/v1/items/popular", limit=500)
    assert len(api.ids(f"/v1/items/{quote('b/2', safe='')}/similar", by="text")) == 10


def test_a_corrupt_snapshot_is_refused_once_and_the_old_one_goes_on(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    folder = api.settings.home / "snapshots"
    sealed = api.snapshots.seal(api.artefacts, worlds.manifest(api.artefacts, worlds.BUILT_AT), {})
    (folder / sealed.id / "items.arrow").write_bytes(b"not what was sealed")
    api.snapshots.publish(sealed.id)
    until(lambda: metric(api.client, "recsys_snapshots_refused_total") == 1)
    assert serving(api.client) == api.snapshot
    sound = worlds.publish(api.settings.home, api.artefacts)
    until(lambda: serving(api.client) == sound)
    assert metric(api.client, "recsys_snapshots_refused_total") == 1
    said = [
        record.getMessage() for record in caplog.records if "items.arrow" in record.getMessage()
    ]
    assert len(said) == 1
    assert sealed.id in said[0]


def test_a_refused_snapshot_is_tried_again_and_served_once_it_is_repaired(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.serving.live.RETRY", timedelta(milliseconds=100), raising=False)
    newer = worlds.manifest(api.artefacts, worlds.BUILT_AT)
    sealed = api.snapshots.seal(api.artefacts, newer, {}).id
    file = api.settings.home / "snapshots" / sealed / "items.arrow"
    shutil.copy(file, aside := api.settings.home / "aside")
    file.write_bytes(b"not what was sealed")
    api.snapshots.publish(sealed)
    until(lambda: metric(api.client, "recsys_snapshots_refused_total") == 1)
    aside.replace(file)
    until(lambda: serving(api.client) == sealed, seconds=5)
    assert metric(api.client, "recsys_snapshots_refused_total") == 1


def test_a_server_that_starts_on_a_corrupt_snapshot_says_why_and_recovers(
    migrated_settings: Settings, artefacts: Artefacts
) -> None:
    settings = served_quickly(migrated_settings)
    broken = worlds.publish(settings.home, artefacts, worlds.BUILT_AT)
    manifest = settings.home / "snapshots" / broken / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"files": content["files"] | {"lost.npy": "0"}}))
    with running(settings) as client:
        reply = client.get("/health/ready")
        assert reply.status_code == 503
        assert "lost.npy is missing" in reply.json()["error"]["message"]
        sound = worlds.publish(settings.home, artefacts)
        until(lambda: serving(client) == sound)


def test_a_pruned_snapshot_is_served_until_the_next_one(api: Api) -> None:
    newer = worlds.publish(api.settings.home, api.artefacts)
    api.snapshots.prune(1)
    until(lambda: serving(api.client) == newer)
    assert len(api.ids("/v1/users/42/recommendations", limit=60)) > 50


def test_what_is_answered_is_counted_by_route(api: Api) -> None:
    for key in ("a", "b/c", "42"):
        api.get(f"/v1/users/{key}/recommendations")
    api.client.get("/v1/items/none")
    api.client.get("/nowhere")
    api.post("/v1/events", [{"user_id": "a", "item_id": str(n), "type": "view"} for n in range(3)])
    api.ids("/v1/items/trending", limit=60)
    labels = 'method="GET",route="/v1/users/{user_id}/recommendations"'
    assert metric(api.client, f'recsys_requests_total{{{labels},status="200"}}') == 3
    assert metric(api.client, f"recsys_request_seconds_count{{{labels}}}") == 3
    labels = 'method="GET",route="/v1/items/{item_id}",status="404"'
    assert metric(api.client, f"recsys_requests_total{{{labels}}}") == 1
    assert metric(api.client, 'recsys_requests_total{method="GET",route="none",status="404"}') == 1
    assert metric(api.client, "recsys_events_added_total") == 3
    assert metric(api.client, "recsys_slates_widened_total") == 1


def test_a_failed_source_is_left_out_named_and_counted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    words = np.eye(1, 32, dtype=np.float32)[0]
    monkeypatch.setattr("recsys.serving.searching.Searching.sought", lambda *_: {"text": words})
    monkeypatch.setattr("recsys.index.space.Space.search", broken)
    reply = api.post("/v1/search", {"text": "space", "explain": True})
    assert len(reply["items"]) == 10
    assert reply["account"]["failed"] == ["text"]
    assert metric(api.client, 'recsys_source_failures_total{source="text"}') == 1


def test_replies_are_what_the_schema_says(shared: Api) -> None:
    reply = shared.client.get("/v1/users/42/recommendations", params={"explain": True})
    read = SlateReply.model_validate_json(reply.content)
    assert read.model_dump(mode="json", exclude_unset=True) == reply.json()


def test_a_source_asked_for_by_name_speaks_even_where_the_blend_switched_it_off(
    settings: Settings, artefacts: Artefacts
) -> None:
    settings = served_quickly(settings)
    engine = connect(settings)
    migrate(engine)
    engine.dispose()
    learned = {"newcomer": {"popular": 1.0, "new": 0.0}, "page": {"cooccurrence": 1.0, "text": 0.0}}
    worlds.publish(settings.home, replace(artefacts, weights=learned))
    with running(settings) as client:
        for path, source in (("/v1/items/new", "new"), ("/v1/items/296/similar?by=text", "text")):
            items = client.get(
                path + "&explain=true" if "?" in path else path + "?explain=true"
            ).json()["items"]
            assert all(set(item["parts"]) == {source} for item in items)
            assert items[0]["score"] > items[-1]["score"]


def test_events_weigh_what_the_build_found(api: Api) -> None:
    """Somebody bought what lies in space and clicked on crime."""
    did = [("purchase", key) for key in worlds.film_ids("Space")[:2]]
    did += [("click", key) for key in worlds.film_ids("Crime")[:2]]
    body = {"events": [{"item_id": key, "type": kind} for kind, key in did], "limit": 4}
    for heavy, light, genre in (("purchase", "click", "Space"), ("click", "purchase", "Crime")):
        weights = EventSettings().weights | {heavy: 1.0, light: 0.001}
        found = EventSettings().model_copy(update={"weights": weights})
        preference = replace(api.artefacts.preference, events=found)
        newer = worlds.publish(api.settings.home, replace(api.artefacts, preference=preference))
        until(lambda newer=newer: serving(api.client) == newer)  # type: ignore[misc]
        shown = {item["item_id"] for item in api.post("/v1/recommendations", body)["items"]}
        assert shown <= set(worlds.film_ids(genre))
