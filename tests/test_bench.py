"""The accuracy benchmark: which folders it reads and how, and that it measures what the API then serves."""

import gzip
import json
import tarfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apis import running

from recsys.catalogue.database import connect, migrate, reading
from recsys.catalogue.events import user_events
from recsys.catalogue.items import Item, get_item
from recsys.config import EmbeddingSettings, Settings

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")

DAY = 86_400_000_000

FIGURES = ("ndcg@10", "recall@10", "hr@10", "ndcg@20", "recall@20")


def folder_of(place: Path, **files: str) -> Path:
    """Files named without their dots: `train_txt_gz`; those of `_gz` are packed."""
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        path = place / name.replace("_", ".")
        packed = path.suffix == ".gz"
        path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    return place


def events_in(folder: Path) -> list[tuple[str, str, int]]:
    """(user, item, part; 0 where there is no split) in the order of their times."""
    from formats import read_interactions

    found = read_interactions(folder)
    part = np.zeros(len(found), int) if found.part is None else found.part
    return [
        (found.users[found.user[n]], found.items[found.item[n]], int(part[n]))
        for n in np.argsort(found.us, kind="stable")
    ]


def of(user: str, events: list[tuple[str, str, int]]) -> list[tuple[str, int]]:
    return [(item, part) for who, item, part in events if who == user]


def test_sequences_end_on_one_day_and_step_back_a_day_at_a_time(tmp_path: Path) -> None:
    from formats import read_interactions

    folder = folder_of(
        tmp_path,
        sequences_txt="a 3 1 3\nb 2 9\n\nc\n",
        interactions_csv="user,item,timestamp\na,1,100\na,3,200\n",
    )
    found = read_interactions(folder)
    assert found.protocol == "leave-one-out"
    assert found.part is None
    assert of("a", events_in(folder)) == [("3", 0), ("1", 0), ("3", 0)]
    days = (found.us - found.us.max()) // DAY
    assert days.tolist() == [-2, -1, 0, -1, 0]


def test_lists_keep_their_parts_and_no_order_is_read_into_what_is_known(tmp_path: Path) -> None:
    from formats import read_interactions

    folder = folder_of(
        tmp_path, train_txt_gz="0 5 6\n1 5\n", val_txt="0 7\n", test_txt_gz="0 8\n2 5\n"
    )
    found = read_interactions(folder)
    assert found.protocol == "parts"
    assert of("0", events_in(folder)) == [("5", 0), ("6", 0), ("7", 1), ("8", 2)]
    assert of("2", events_in(folder)) == [("5", 2)]
    assert len(set(found.us[found.part != 2].tolist())) == 1
    assert found.us[found.part == 2].min() > found.us[found.part != 2].max()


def test_an_atomic_file_is_read_by_its_header_and_ordered_by_time(tmp_path: Path) -> None:
    head = "rating:float\ttimestamp:float\titem_id:token\tuser_id:token\n"
    rows = "5\t9.7e8\tx\ta\n1\t960000000.0\ty\ta\n4\t980000000\tz\ta\n"
    folder = folder_of(tmp_path, shop_inter=head + rows)
    assert of("a", events_in(folder)) == [("y", 0), ("x", 0), ("z", 0)]


def test_an_atomic_file_without_times_is_in_the_order_of_its_lines(tmp_path: Path) -> None:
    rows = "artist_id:token\tuser_id:token\nx\ta\ny\tb\nw\ta\n"
    folder = folder_of(tmp_path, fm_inter=rows.replace("artist_id", "item_id"))
    assert of("a", events_in(folder)) == [("x", 0), ("w", 0)]


def test_columns_of_unknown_names_are_the_user_and_then_the_item(tmp_path: Path) -> None:
    rows = "member:token\tartist:token\tweight:float\na\tx\t3\n"
    assert events_in(folder_of(tmp_path, fm_inter=rows)) == [("a", "x", 0)]


def test_atomic_files_that_are_split_keep_their_split(tmp_path: Path) -> None:
    head = "user_id:token\titem_id:token\n"
    folder = folder_of(
        tmp_path,
        s_train_inter=head + "a\tx\na\ty\n",
        s_valid_inter=head + "a\tz\n",
        s_test_inter=head + "a\tw\nb\tx\n",
    )
    assert of("a", events_in(folder)) == [("x", 0), ("y", 0), ("z", 1), ("w", 2)]


def test_questions_become_the_sequence_they_were_cut_from(tmp_path: Path) -> None:
    """Lists as they are handed out: every prefix, cut to the newest three, some of them twice."""
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    train = ["a\tp\tq", "a\tq r s\tt", "a\tp q r\ts", "a\tp q\tr", "a\tp q\tr"]
    folder = folder_of(
        tmp_path,
        s_train_inter=head + "\n".join(train),
        s_valid_inter=head + "a\tr s t\tu",
        s_test_inter=head + "a\ts t u\tp\nb\tp q\tr",
    )
    found = events_in(folder)
    assert of("a", found) == [*((item, 0) for item in "pqrst"), ("u", 1), ("p", 2)]
    assert of("b", found) == [("p", 0), ("q", 0), ("r", 2)]


def test_ratings_over_time_are_told_from_tags(tmp_path: Path) -> None:
    from formats import read_interactions

    ratings = ["userId,movieId,rating,timestamp", "1,10,4.5,1000000000", "1,11,2,900000000"]
    unusable = ["1,12,3,", "1,,3,900000000", "1,13,3,9000000000000", "1,10,4.5,1000000000"]
    tags = "userId,movieId,tag,timestamp\n" + "1,10,funny,900000000\n" * 50
    folder = folder_of(
        tmp_path, ratings_csv_gz="\n".join([*ratings, *unusable]) + "\n", tags_csv=tags
    )
    found = read_interactions(folder)
    assert found.protocol == "time"
    assert of("1", events_in(folder)) == [("11", 0), ("10", 0)]
    assert found.value.tolist() == [4.5, 2.0]
    assert found.us.tolist() == [10**15, 9 * 10**14]
    assert found.dropped == len(unusable)


def test_without_ratings_an_event_told_with_two_ratings_is_one(tmp_path: Path) -> None:
    from formats import read_interactions

    rows = "user_id:token\titem_id:token\trating:float\ttimestamp:float\na\tx\t1\t9\na\tx\t5\t9\n"
    found = read_interactions(folder_of(tmp_path, s_inter=rows))
    assert len(found) == 2
    assert len(found.without_ratings()) == 1


@pytest.mark.parametrize(
    ("files", "arguments", "named"),
    [
        (None, [], "expected one that holds sequences.txt"),
        ({}, [], "holds nothing"),
        ({"readme_md": "hello"}, [], "holds readme.md"),
        ({"train_txt": "a 1\n"}, [], "holds train.txt"),
        ({"a_inter": "x\ty\n1\t2\n"}, [], "user_id:token"),
        ({"a_inter": "u:token\ti:token\n", "b_inter": "u:token\ti:token\n"}, [], "expected one"),
        ({"sequences_txt": "a\n"}, [], "no usable row"),
        ({"sequences_txt": "a 1 2 3\n"}, ["--protocol", "time"], "without times"),
        ({"sequences_txt": "a 1 2 3\n"}, ["--protocol", "parts"], "not split"),
        ({"sequences_txt": "a 1 2 3\n"}, [], "min_queries"),
    ],
)
def test_data_that_cannot_be_measured_ends_with_one_line_and_code_2(
    tmp_path: Path, files: dict[str, str] | None, arguments: list[str], named: str
) -> None:
    folder = tmp_path / "data"
    if files is not None:
        folder_of(folder, **files)
    code, _, said = run("--data", str(folder), *arguments)
    error = said[said.index("error: ") :]
    assert code == 2
    assert error.count("\n") == 1
    assert named in error


@pytest.fixture
def imported(tmp_path: Path) -> Any:
    """What the product's catalogue holds of a folder's items."""

    def read(**files: str) -> dict[str, Item | None]:
        from feeding import Feeder
        from formats import read_interactions
        from texts import find_texts

        folder = folder_of(tmp_path / "data", **files)
        found = read_interactions(folder)
        settings = Settings(home=tmp_path / "home")
        engine = connect(settings)
        migrate(engine)
        Feeder(engine, settings, tmp_path).items(found, find_texts(folder, found, False), None)
        with reading(engine) as connection:
            items = {key: get_item(connection, key) for key in (*found.items, "unmet")}
        engine.dispose()
        return items

    return read


def test_all_columns_that_say_something_describe_an_item(imported: Any) -> None:
    items = imported(
        sequences_txt="a 1 2 3\n",
        items_csv=(
            "item,asin,title,categories,price,brand,note,rank,page,available\n"
            "1,B0047,Red Shatter,\"'Beauty', 'Nails'\",3.04,OPI,glossy and red,12,http://a/b,no\n"
            '2,B0048,Nail Lacquer,"Beauty,Tools",on request,OPI,,3,http://a/c,no\n'
            "unmet,B0049,Comb,Tools,1,OPI,wooden,4,http://a/d,no\n"
        ),
    )
    red, lacquer = items["1"], items["2"]
    assert (red.title, red.brand, red.price) == ("Red Shatter", "OPI", 3.04)
    assert red.categories == ("Beauty", "Nails")
    assert red.description == "glossy and red"
    assert red.available
    assert (lacquer.title, lacquer.price) == ("Nail Lacquer", None)
    assert lacquer.categories == ("Beauty", "Tools")
    assert items["3"].title is None
    assert items["unmet"] is None


def test_the_ids_are_in_the_column_that_the_interactions_speak_of(imported: Any) -> None:
    table = "id,asin,name\n1,B1,Comb\n2,B2,Brush\n"
    items = imported(sequences_txt="a B2 B1 B3\n", things_csv=table)
    assert items["B2"].title == "Brush"


def test_texts_come_from_the_table_with_the_most_words(imported: Any) -> None:
    items = imported(
        sequences_txt="a 1 2 3\n",
        links_csv="movieId,imdbId\n1,0114\n",
        movies_csv="movieId,title\n1,Heat\n",
        text_csv="movieId,title,plot,cast\n1,Heat,A heist goes wrong,Al Pacino\n",
        users_csv="user,item,word\nq,1,some text\n",
    )
    assert items["1"].description == "A heist goes wrong. Al Pacino"


def test_an_atomic_item_file_describes_items(imported: Any) -> None:
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
    items = imported(s_inter=ATOMIC, s_item=head + "x\tToy Story\t1995\tAnimation Comedy\n")
    assert items["x"].title == "Toy Story"
    assert items["x"].categories == ("Animation", "Comedy")


def test_pictures_are_found_in_the_archive_beside_the_data(tmp_path: Path) -> None:
    from feeding import Feeder
    from formats import read_interactions
    from texts import picture_template

    folder = folder_of(tmp_path / "data", sequences_txt="a 1 2\n")
    with tarfile.open(folder / "posters.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("posters/2.jpg"))
    embedding = EmbeddingSettings(image_root=folder)
    settings = Settings(home=tmp_path / "home", embedding=embedding)
    engine = connect(settings)
    migrate(engine)
    found = read_interactions(folder)
    Feeder(engine, settings, tmp_path).items(found, None, picture_template(folder))
    with reading(engine) as connection:
        images = {key: get_item(connection, key).images for key in ("1", "2")}
    engine.dispose()
    assert images == {"1": (), "2": ("posters.tar/posters/2.jpg",)}


@pytest.mark.parametrize(
    "lines", ["item_id:token\ttext:token_seq\nx\ta red comb\n", "x\ta red comb\ny\tblue\n"]
)
def test_a_text_file_has_a_header_or_ids(imported: Any, lines: str) -> None:
    assert imported(s_inter=ATOMIC, s_text=lines)["x"].description == "a red comb"


@pytest.mark.parametrize("first", [0, 1])
def test_lines_without_ids_are_numbered_from_the_first_item(imported: Any, first: int) -> None:
    rows = [f"a\t{number}\n" for number in range(first, first + 3)]
    inter = "user_id:token\titem_id:token\n" + "".join(rows)
    items = imported(s_inter=inter, s_text="a red comb\na blue brush\na pen\n")
    assert items[str(first + 1)].description == "a blue brush"


ATOMIC = "user_id:token\titem_id:token\na\tx\na\ty\n"


def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the benchmark, with small models and no texts."""
    from accuracy import main

    small = {"EMBEDDING__TEXT_MODEL": "none", "PREFERENCE__SEARCH": "false", "THREADS": "1"}
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as here, redirect_stdout(out), redirect_stderr(err):
        for name, value in (small | {"PREFERENCE__FACTORS": "8"} | variables).items():
            here.setenv(f"RECSYS_{name}", value)
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@dataclass(frozen=True)
class Measured:
    """A run, with the search of settings, on walks around a ring of 40 items; every other step is taken back."""

    sequences: dict[str, list[str]]
    home: Path
    slates: dict[str, list[str]]
    stdout: str
    figures: dict[str, Any]


def walk(rng: np.random.Generator) -> list[str]:
    """There, on, back, on, back, ...: half of what is met was met before."""
    steps = rng.integers(0, 40) + np.cumsum(rng.integers(1, 3, 6))
    there_and_back = np.repeat(steps, 2)[:-1]
    there_and_back[2::2] = steps[:-1]
    return [f"i{step % 40}" for step in there_and_back]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    place = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    walks = {f"user-{n}": walk(rng)[: 10 + n % 2] for n in range(80)}
    lines = [" ".join([user, *items]) for user, items in walks.items()]
    folder = folder_of(place / "ring", sequences_txt="\n".join(lines) + "\n")
    home, slates = place / "home", place / "slates.jsonl"
    code, out, err = run(
        *("--data", str(folder), "--home", str(home), "--slates", str(slates), "--json"),
        PREFERENCE__SEARCH="true",
    )
    assert code == 0, err
    rows = [json.loads(line) for line in slates.read_text().splitlines()]
    served = {row["user"]: row["items"] for row in rows}
    return Measured(walks, home, served, out, json.loads(out.splitlines()[-1]))


def test_the_last_line_is_json_with_every_figure(measured: Measured) -> None:
    names = {*FIGURES, *(f"refit_{name}" for name in FIGURES), "fit_seconds", "peak_mb"}
    assert names <= measured.figures.keys()
    assert all(0 <= measured.figures[name] <= 1 for name in names if "@" in name)
    assert measured.figures["fit_seconds"] > 0
    assert measured.figures["peak_mb"] > 50
    assert measured.figures["queries"] == len(measured.sequences)
    assert measured.figures["refit_hr@10"] > 0.5
    assert not measured.figures["hides_seen"]


def test_the_items_asked_for_never_enter_the_database(measured: Measured) -> None:
    engine = connect(Settings(home=measured.home))
    with reading(engine) as connection:
        for user, items in measured.sequences.items():
            stored = user_events(connection, user, 100)
            assert [event.item_id for event in reversed(stored)] == items[:-1]
    engine.dispose()


def test_the_slates_are_those_that_the_refit_figures_were_measured_on(measured: Measured) -> None:
    for k, name in ((10, "hr@10"), (20, "recall@20")):
        found = [
            items[-1] in measured.slates[user][:k] for user, items in measured.sequences.items()
        ]
        assert np.mean(found) == pytest.approx(measured.figures[f"refit_{name}"])


def test_the_api_serves_the_very_model_that_was_measured(measured: Measured) -> None:
    without_texts = EmbeddingSettings(text_model="none", image_model="none")
    with running(Settings(home=measured.home, embedding=without_texts)) as client:
        for user in list(measured.sequences)[:10]:
            reply = client.get(f"/v1/users/{user}/recommendations", params={"limit": 10}).json()
            assert [item["item_id"] for item in reply["items"]] == measured.slates[user][:10]


def test_another_dataset_in_the_same_home_is_refused(measured: Measured, tmp_path: Path) -> None:
    lines = [f"u{n} i1 i2 i3 i{n}" for n in range(30)]
    folder = folder_of(tmp_path, sequences_txt="\n".join(lines))
    code, _, said = run("--data", str(folder), "--home", str(measured.home))
    assert code == 2
    assert "give an empty or a new folder" in said


def test_a_split_without_validation_has_one_set_of_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    picks = {n: rng.choice(30, 12, replace=False).tolist() for n in range(40)}
    folder = folder_of(
        tmp_path / "data",
        train_txt="".join(f"{n} {' '.join(map(str, items[:8]))}\n" for n, items in picks.items()),
        test_txt="".join(f"{n} {' '.join(map(str, items[8:]))}\n" for n, items in picks.items()),
    )
    code, out, err = run("--data", str(folder), "--json")
    assert code == 0, err
    figures = json.loads(out.splitlines()[-1])
    assert figures["protocol"] == "parts"
    assert all(figures[name] == figures[f"refit_{name}"] for name in FIGURES)


LIMITS = ((0, 60), (0, 50), (1, 6))
"""Of users, items and ratings."""


def test_ratings_are_measured_by_time_and_old_homes_are_taken_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    users, items, stars = (rng.integers(low, high, 2_000) for low, high in LIMITS)
    rows = [
        f"{user},{item},{rating},{10**9 + 1000 * n}"
        for n, (user, item, rating) in enumerate(zip(users, items, stars, strict=True))
    ]
    folder = folder_of(
        tmp_path / "data", ratings_csv="user,item,rating,timestamp\n" + "\n".join(rows) + "\n"
    )
    home = tmp_path / "home"
    first, again = (run("--data", str(folder), "--home", str(home), "--json") for _ in range(2))
    assert first[0] == again[0] == 0, first[2]
    one, other = (json.loads(out.splitlines()[-1]) for _, out, _ in (first, again))
    assert one["protocol"] == "time"
    assert [one[name] for name in FIGURES] == [other[name] for name in FIGURES]
    engine = connect(Settings(home=home))
    with reading(engine) as connection:
        stored = [event for n in range(60) for event in user_events(connection, str(n), 100)]
    engine.dispose()
    assert len(stored) == 1_800
    assert {event.type for event in stored} == {"rating"}


def test_json_comes_only_when_asked_for(tmp_path: Path) -> None:
    lines = [f"u{n} i{n % 7} i{n % 5} i{n % 3} i{n % 11}" for n in range(30)]
    folder = folder_of(tmp_path, sequences_txt="\n".join(lines))
    code, out, err = run("--data", str(folder))
    assert code == 0, err
    assert "refitted with validation" in out
    assert "{" not in out
