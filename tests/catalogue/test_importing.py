import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, select

from recsys.catalogue.columns import parse_map
from recsys.catalogue.database import connect, migrate, reading
from recsys.catalogue.events import read_events, user_events, user_ids
from recsys.catalogue.importing import FeedOptions, Summary, import_file
from recsys.catalogue.items import Item, get_item, get_items, read_items
from recsys.catalogue.tables import EventRow
from recsys.config import EmbeddingSettings, Settings
from recsys.errors import DatabaseError, FeedError, InputError

Import = Callable[..., Summary]


@pytest.fixture
def load(engine: Engine, settings: Settings, tmp_path: Path) -> Import:
    """Write this content to a file of this name, and import it."""

    def write_and_import(kind, name, content, told=(), image_root=None, **options) -> Summary:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        embedding = EmbeddingSettings(image_root=image_root or tmp_path)
        at_root = settings.model_copy(update={"embedding": embedding})
        found = FeedOptions(columns=parse_map(told), **options)
        return import_file(engine, kind, path, found, at_root)

    return write_and_import


def counts(summary: Summary) -> tuple[int, int, int, int, int]:
    s = summary
    assert s.added + s.updated + s.unchanged + s.rejected == s.rows
    return s.rows, s.added, s.updated, s.unchanged, s.rejected


def rejects(summary: Summary) -> list[tuple[int, str]]:
    assert summary.rejects is not None
    found = [json.loads(line) for line in summary.rejects.read_text("utf-8").splitlines()]
    assert len(found) == summary.rejected
    return [(row["line"], row["reason"]) for row in found]


def item(engine: Engine, item_id: str) -> Item:
    with reading(engine) as connection:
        found = get_item(connection, item_id)
    assert found is not None
    return found


MOVIES = (
    "movieId,title,genres\n"
    '1,"American President, The (1995)",Comedy|Drama\n'
    "2,Balto (1995),(no genres listed)\n"
)
RATINGS = (
    "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,0.5,964981247\n2,1,3.5,964982224\n"
)


def test_movielens_needs_no_options(engine: Engine, load: Import):
    assert counts(load("items", "movies.csv", MOVIES)) == (2, 2, 0, 0, 0)
    assert counts(load("events", "ratings.csv", RATINGS)) == (3, 3, 0, 0, 0)
    assert item(engine, "1") == Item(
        id="1", title="American President, The (1995)", categories=("Comedy", "Drama")
    )
    assert item(engine, "2").categories == ()
    with reading(engine) as connection:
        (rated,) = user_events(connection, "2", 9)
        log = read_events(connection, read_items(connection).ids)
    assert (rated.type, rated.value) == ("rating", 3.5)
    assert rated.time == datetime(2000, 7, 30, 18, 37, 4, tzinfo=UTC)
    assert [log.actors[a] for a in log.actor] == ["1", "2", "1"]


def test_amazon_files_need_no_options_but_the_type(engine: Engine, load: Import):
    items = (
        "item,asin,title,categories,price,brand\n"
        "1,B00,Dr. Scholl's,\"'Beauty', 'Skin Care'\",12.0,Scholl\n"
    )
    load("items", "items.csv", items)
    events = "user,item,pos,timestamp\n7,1,0,1318896000\n"
    summary = load("events", "interactions.csv.gz", events, type="purchase")
    assert summary.columns == {"user_id": ("user",), "item_id": ("item",), "time": ("timestamp",)}
    assert item(engine, "1") == Item(
        id="1",
        title="Dr. Scholl's",
        categories=("Beauty", "Skin Care"),
        price=12,
        brand="Scholl",
        attributes={"asin": "B00"},
    )
    with reading(engine) as connection:
        assert [event.type for event in user_events(connection, "7", 9)] == ["purchase"]


def test_amazon_reviews_and_metadata_of_2023_are_understood(engine: Engine, load: Import):
    meta = {
        "main_category": "All Beauty",
        "title": "Shampoo",
        "description": ["Soft.", "Mild."],
        "price": None,
        "images": [{"thumb": "t.jpg", "large": "l.jpg"}],
        "store": "Herbivore",
        "categories": ["Hair", "All Beauty"],
        "details": {"Size": 1},
        "parent_asin": "B01",
    }
    load("items", "meta.jsonl", json.dumps(meta) + "\n")
    review = {
        "rating": 5.0,
        "asin": "B00",
        "parent_asin": "B01",
        "user_id": "A",
        "timestamp": 1588687728923,
    }
    load("events", "reviews.jsonl.gz", json.dumps(review) + "\n")
    assert item(engine, "B01") == Item(
        id="B01",
        title="Shampoo",
        description="Soft.. Mild.",
        categories=("Hair", "All Beauty"),
        brand="Herbivore",
        images=("l.jpg",),
        attributes={"details": {"Size": 1}},
    )
    with reading(engine) as connection:
        (event,) = user_events(connection, "A", 9)
    assert (event.item_id, event.value) == ("B01", 5)
    assert event.time == datetime(2020, 5, 5, 14, 8, 48, 923000, tzinfo=UTC)


def test_the_same_file_imported_twice_adds_nothing(engine: Engine, load: Import):
    load("items", "movies.csv", MOVIES)
    load("events", "ratings.csv", RATINGS)
    assert counts(load("items", "again.csv", MOVIES)) == (2, 0, 0, 2, 0)
    assert counts(load("events", "again.csv", RATINGS)) == (3, 0, 0, 3, 0)
    changed = MOVIES.replace("Balto", "Balto II")
    assert counts(load("items", "movies.csv", changed)) == (2, 0, 1, 1, 0)


def test_columns_can_be_named_joined_and_let_go(engine: Engine, load: Import):
    text = "key,name,plot,overview,brand,tags\na,The name,First,Second,none,x;y\nb,,,Only,,\n"
    told = ["id=key", "description=plot", "description=overview", "brand=", "categories=tags"]
    summary = load("items", "a.csv", text, told, split=";")
    assert item(engine, "a") == Item(
        id="a",
        title="The name",
        description="First. Second",
        categories=("x", "y"),
        attributes={"brand": "none"},
    )
    assert item(engine, "b") == Item(id="b", description="Only")
    assert summary.columns["description"] == ("plot", "overview")


@pytest.mark.parametrize(
    ("kind", "told", "error", "message"),
    [
        ("items", ["colour=x"], InputError, "items have no field 'colour'"),
        ("items", ["title=nope"], FeedError, "no column 'nope'; found: movieId, title, genres"),
        ("items", ["price=title", "price=genres"], InputError, "found 2 columns, expected one"),
        ("items", ["id="], FeedError, "no column for id among .*--map id=COLUMN"),
        ("items", ["title"], InputError, "--map title: write it like"),
        ("events", [], FeedError, "no column for time among"),
        ("events", ["time=title"], FeedError, "no column for user_id or session_id"),
        ("events", ["time=title", "user_id=genres"], FeedError, "no column for type .*--type"),
    ],
)
def test_a_mapping_that_cannot_work_is_told_before_anything_is_read(
    load: Import, kind, told, error, message
):
    with pytest.raises(error, match=message):
        load(kind, "movies.csv", MOVIES, told)


def test_a_type_for_all_rows_must_be_a_known_one(load: Import):
    with pytest.raises(InputError, match="did you mean purchase"):
        load("events", "ratings.csv", RATINGS, type="purchas")


ANY_IDS = ["a/b", " ", "ü😀", "it's", 'say "x"', "two\nlines", "\\N", "%s", "=1+1", "01", "1.0"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl", "a.parquet"])
def test_ids_of_any_characters_come_through_every_format(engine, load, tmp_path, name):
    rows = [{"id": key, "title": "t"} for key in ANY_IDS]
    if name.endswith("jsonl"):
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif name.endswith("parquet"):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        content = sink.getvalue()
    else:
        sign = "\t" if "tsv" in name else ","
        quoted = ('"' + key.replace('"', '""') + f'"{sign}t\n' for key in ANY_IDS)
        content = f"id{sign}title\n" + "".join(quoted)
    assert counts(load("items", name, content)) == (len(ANY_IDS), len(ANY_IDS), 0, 0, 0)
    with reading(engine) as connection:
        assert list(read_items(connection).ids) == sorted(ANY_IDS)


BAD_ITEMS = """\
id,title,price,available,published_at,attributes
good,Good,1,true,2020-01-01,
,no id,1,true,2020-01-01,
short,row
long,row,1,true,2020-01-01,,extra
neg,price,-1,true,2020-01-01,
inf,price,inf,true,2020-01-01,
huge,price,1e999,true,2020-01-01,
text,price,cheap,true,2020-01-01,
"two
lines",flag,1,perhaps,2020-01-01,
date,far,1,true,12020-01-01,
date,early,1,true,0001-01-01T00:00:00+05:00,
date,none,1,true,soon,
date,big,1,true,99999999999999999999,
attr,object,1,true,2020-01-01,[1]
attr,number,1,true,2020-01-01,"{""a"": 99999999999999999999}"
attr,nan,1,true,2020-01-01,"{""a"": NaN}"
nan,is nothing,NaN,,nan,
"""


def test_bad_rows_are_told_by_line_and_reason_and_spoil_nothing(engine: Engine, load: Import):
    summary = load("items", "bad.csv", BAD_ITEMS)
    assert counts(summary) == (17, 2, 0, 0, 15)
    found = rejects(summary)
    assert [line for line, _ in found] == [*range(3, 11), *range(12, 19)]
    reasons = dict(found)
    assert reasons[3] == "id: Field required"
    assert reasons[4] == "found 2 values for 6 columns"
    assert reasons[5] == "found 7 values for 6 columns"
    assert reasons[6].startswith("price: Input should be greater than or equal to 0")
    assert reasons[9] == "price: found 'cheap', expected a number"
    assert reasons[10] == "available: found 'perhaps', expected true or false"
    assert reasons[13].startswith("published_at: is outside the years 1 to 9999 (found 0001-01-01")
    assert "beyond 64 bits" in reasons[17]
    with reading(engine) as connection:
        assert set(read_items(connection).ids) == {"good", "nan"}


BAD_EVENTS = """\
user_id,session_id,item_id,type,value,time,position
u,,i,click,,2020-01-01,3
,,i,click,,2020-01-01,
u,,,click,,2020-01-01,
u,,i,clik,,2020-01-01,
u,,i,rating,,2020-01-01,
u,,i,rating,NaN,2020-01-01,
u,,i,rating,inf,2020-01-01,
u,,i,rating,1e300,2020-01-01,
u,,i,click,,,
u,,i,click,,9999-12-31,
u,,i,click,,-99999999999999999,
u,,i,click,,2020-01-01,99999999999999999999
u,,i,click,,2020-01-01,1.5
u,,i,click,,2020-01-01,-1
,s,i,click,,2020-01-01,
"""


def test_bad_events_are_told_by_line_and_reason(engine: Engine, load: Import):
    summary = load("events", "bad.csv", BAD_EVENTS)
    assert counts(summary) == (15, 2, 0, 0, 13)
    reasons = dict(rejects(summary))
    assert sorted(reasons) == list(range(3, 16))
    assert reasons[3] == "an event needs a user_id or a session_id"
    assert "did you mean click?" in reasons[5]
    assert reasons[6] == reasons[7] == "a rating needs a value"
    assert reasons[8] == "value: found an infinite number"
    assert "future" in reasons[11]


def test_a_clean_import_removes_the_rejects_of_the_last_one(load: Import):
    summary = load("items", "a.csv", "id,price\na,x\n")
    assert summary.rejects and summary.rejects.name == "a.csv.items.jsonl"
    assert load("items", "a.csv", "id,price\na,1\n").rejects is None
    assert not summary.rejects.exists()


def test_rejected_rows_can_be_read_back_from_the_rejects_file(load: Import, tmp_path: Path):
    content = (
        '{"id": "a", "price": "é\\ud800"}\n{"id": "b", "price": NaN, "x": Infinity}\nnot json\n'
    )
    summary = load("items", "a.jsonl", content, rejects=tmp_path / "deep" / "r.jsonl")
    assert summary.rejects == tmp_path / "deep" / "r.jsonl"
    found = [json.loads(line) for line in summary.rejects.read_text("utf-8").splitlines()]
    assert [row["line"] for row in found] == [1, 2, 3]
    assert found[0]["row"] == {"id": "a", "price": "é\ud800"}
    assert found[2]["row"] == {"": "not json\n"}


def test_text_that_is_not_utf8_is_rejected_row_by_row(engine: Engine, load: Import):
    content = "id,title,x\n1,café,\n2,tea,\n3,ok,é\n".encode("latin-1")
    summary = load("items", "a.csv", content)
    assert [line for line, _ in rejects(summary)] == [2, 4]
    assert all("not UTF-8" in reason for _, reason in rejects(summary))
    assert item(engine, "2").title == "tea"


def test_strict_leaves_the_database_and_its_items_as_they_were(engine: Engine, load: Import):
    load("items", "a.csv", "id,title\na,first\n")
    rows = "".join(f"n{n},new,1\n" for n in range(9_000))
    bad = f"id,title,price\na,second,1\n{rows}last,bad,-1\n"
    with pytest.raises(FeedError, match=r"1 of 9002 rows.*nothing was imported.*jsonl says why"):
        load("items", "a.csv", bad, strict=True)
    assert item(engine, "a").title == "first"
    with reading(engine) as connection:
        assert len(read_items(connection)) == 1
    assert counts(load("items", "a.csv", bad.replace("-1", "1"), strict=True)) == (
        9002,
        9001,
        1,
        0,
        0,
    )


def test_a_file_that_breaks_off_keeps_what_came_before_unless_strict(engine, load, tmp_path):
    rows = "userId,movieId,rating,timestamp\n"
    rows += "".join(f"{n * 2654435761 % 2**32},{n},4,{n + 10**9}\n" for n in range(20_000))
    broken = gzip.compress(rows.encode())[:-50_000]
    (tmp_path / "r.csv.gz").write_bytes(broken)
    for strict, kept in ((True, False), (False, True)):
        with pytest.raises(FeedError, match="cannot be read"):
            import_file(
                engine, "events", tmp_path / "r.csv.gz", FeedOptions(strict=strict), Settings()
            )
        with reading(engine) as connection:
            assert bool(user_ids(connection)) is kept


def test_json_lines_may_bring_new_columns_at_any_line(engine: Engine, load: Import):
    rows = [{"id": n} for n in range(5_000)] + [{"id": "x", "title": "late", "colour": "red"}]
    load("items", "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert item(engine, "x") == Item(id="x", title="late", attributes={"colour": "red"})
    assert item(engine, "4999") == Item(id="4999")


def test_parquet_rows_keep_their_kinds(engine: Engine, load: Import):
    table = pa.table(
        {
            "item_id": pa.array([1.0, None, 3.0]),
            "categories": [["a", "b"], [], None],
            "price": [float("nan"), 1.0, 2.5],
            "release_date": pa.array([0, 0, 2**62], pa.timestamp("us")),
            "stock": [5, 6, 7],
            "blob": [None, None, b"\x00"],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    summary = load("items", "a.parquet", sink.getvalue())
    assert [line for line, _ in rejects(summary)] == [2, 3]
    assert item(engine, "1") == Item(
        id="1",
        categories=("a", "b"),
        published_at=datetime(1970, 1, 1, tzinfo=UTC),
        attributes={"stock": 5},
    )


def test_an_empty_file_is_told_and_a_file_without_rows_is_fine(engine: Engine, load: Import):
    with pytest.raises(FeedError, match="no header"):
        load("items", "a.csv", "")
    assert counts(load("items", "a.csv", "id,title\n")) == (0, 0, 0, 0, 0)
    assert counts(load("events", "a.jsonl", "")) == (0, 0, 0, 0, 0)


def test_images_are_found_in_a_folder_and_in_a_tar(engine: Engine, load: Import, tmp_path: Path):
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "1.jpg").write_bytes(b"")
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        tar.add(tmp_path / "posters" / "1.jpg", "posters/1.jpg")
    long = "x" * 500
    text = f"id,image\n1,given.png\n2,\n{long},\n"
    summary = load("items", "a.csv", text, image="posters/{item_id}.jpg")
    assert summary.images == 1
    assert item(engine, "1").images == ("given.png", "posters/1.jpg")
    load("items", "a.csv", text, image="p.tar/posters/{item_id}.jpg")
    assert item(engine, "1").images == ("given.png", "p.tar/posters/1.jpg")
    assert item(engine, "2").images == item(engine, long).images == ()
    with pytest.raises(FeedError, match=r"none\.tar cannot be read"):
        load("items", "a.csv", text, image="none.tar/{item_id}.jpg")
    with pytest.raises(InputError, match=r"must hold \{item_id\}"):
        load("items", "a.csv", text, image="posters/id.jpg")


def test_an_event_may_come_before_its_item(engine: Engine, load: Import):
    load("events", "ratings.csv", RATINGS)
    with reading(engine) as connection:
        assert read_events(connection, read_items(connection).ids).unknown_items == 3
    load("items", "movies.csv", MOVIES)
    with reading(engine) as connection:
        assert len(read_events(connection, read_items(connection).ids)) == 3
        assert get_items(connection, ["1", "2", "3"]).keys() == {"1", "2"}
        assert user_ids(connection) == ["1", "2"]


def test_a_session_event_keeps_its_place_and_recommendation(engine: Engine, load: Import):
    text = "session,product_id,event,ts,placement,position,recommendation_id\ns,i,view,2020-01-01,home,3,r\n"
    load("events", "a.csv", text)
    with reading(engine) as connection:
        context = connection.scalars(
            select(EventRow.context).where(EventRow.session_id == "s")
        ).one()
    assert context == {"placement": "home", "position": 3, "recommendation_id": "r"}


def test_progress_counts_the_rows_done(engine: Engine, settings: Settings, tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("id\n" + "".join(f"{n}\n" for n in range(9_000)))
    seen: list[int] = []
    import_file(engine, "items", path, FeedOptions(), settings, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 9_000
    assert len(seen) > 2


def test_an_import_into_an_unmigrated_database_says_what_to_run(settings: Settings, tmp_path: Path):
    (tmp_path / "movies.csv").write_text(MOVIES)
    with pytest.raises(DatabaseError, match="recsys migrate"):
        import_file(connect(settings), "items", tmp_path / "movies.csv", FeedOptions(), settings)


def peak(engine: Engine, settings: Settings, path: Path, rows: int) -> int:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    with path.open("w") as file:
        file.write("user_id,item_id,type,time\n")
        file.writelines(
            f"u{n % 99},i{n % 77},view,{(start + timedelta(seconds=n)).isoformat()}\n"
            for n in range(rows)
        )
    tracemalloc.start()
    import_file(engine, "events", path, FeedOptions(), settings)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest


def test_memory_does_not_grow_with_the_file(settings: Settings, tmp_path: Path):
    engine = connect(settings)
    migrate(engine)
    peak(engine, settings, tmp_path / "warm.csv", 100)
    small = peak(engine, settings, tmp_path / "small.csv", 5_000)
    assert peak(engine, settings, tmp_path / "large.csv", 15_000) < 1.2 * small
