import gzip
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.catalogue.feeds import Record, read_columns, read_records
from recsys.errors import FeedError


def written(path: Path, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lines(path: Path) -> list[tuple[int, dict[str, object]]]:
    return [(record.line, record.values) for record in read_records(path) if not record.problem]


def problems(path: Path) -> list[tuple[int, str]]:
    return [(record.line, record.problem) for record in read_records(path) if record.problem]


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz"])
def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path, name: str):
    text = 'id,title\n1,one\n\n2,"two\nlines, ""quoted"""\r\n3,three\n'
    path = written(tmp_path / name, text)
    assert read_columns(path) == ("id", "title")
    assert lines(path) == [
        (2, {"id": "1", "title": "one"}),
        (4, {"id": "2", "title": 'two\nlines, "quoted"'}),
        (6, {"id": "3", "title": "three"}),
    ]


def test_tabs_and_a_byte_order_mark_are_understood(tmp_path: Path):
    path = written(tmp_path / "a.tsv.gz", "\ufeffid\ttitle\n1\ta,b\n")
    assert read_columns(path) == ("id", "title")
    assert lines(path) == [(2, {"id": "1", "title": "a,b"})]


def test_rows_too_short_or_too_long_are_problems_and_lose_nothing(tmp_path: Path):
    path = written(tmp_path / "a.csv", "id,title\n1\n2,b\n3,c,d,e\n")
    assert [record for record in read_records(path) if record.problem] == [
        Record(2, {"id": "1"}, "found 1 values for 2 columns"),
        Record(4, {"id": "3", "title": "c", "": ["d", "e"]}, "found 4 values for 2 columns"),
    ]
    assert lines(path) == [(3, {"id": "2", "title": "b"})]


def test_a_quote_that_never_closes_is_a_problem_not_a_title(tmp_path: Path):
    path = written(tmp_path / "a.csv", 'id,title\n1,one\n2,"two\n3,three\n')
    assert lines(path) == [(2, {"id": "1", "title": "one"})]
    ((line, reason),) = problems(path)
    assert line == 3
    assert "up to line 4" in reason


def test_rows_after_a_malformed_one_are_still_read(tmp_path: Path):
    path = written(
        tmp_path / "a.csv", 'id,title\n1,"a"b"\n2,two\n3,' + "x" * 200_000 + "\n4,four\n"
    )
    assert [line for line, _ in problems(path)] == [2, 4]
    assert [values["id"] for _, values in lines(path)] == ["2", "4"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_json_lines_keep_what_json_says(tmp_path: Path, name: str):
    path = written(tmp_path / name, '\ufeff{"id": 1}\n\n{"id": "x", "big": 1' + "0" * 40 + "}\n")
    assert read_columns(path) == ()
    assert lines(path) == [(1, {"id": 1}), (3, {"id": "x", "big": 10**40})]


def test_lines_that_are_no_json_object_are_problems(tmp_path: Path):
    deep = "[" * 100_000
    digits = '{"id": 1' + "0" * 5_000 + "}"
    path = written(tmp_path / "a.jsonl", f'{{"id": 1\n[1]\n{deep}\n{digits}\n{{"id": 2}}\n')
    assert [line for line, _ in problems(path)] == [1, 2, 3, 4]
    assert lines(path) == [(5, {"id": 2})]


def test_parquet_rows_are_counted_from_one_and_keep_their_kinds(tmp_path: Path):
    table = pa.table(
        {
            "id": [1, 2],
            "list": [["a"], None],
            "price": pa.array([Decimal("1.50"), None]),
            "when": pa.array([0, 1_500_000_001], pa.timestamp("ns", tz="UTC")),
            "day": pa.array([0, 1], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet") == ("id", "list", "price", "when", "day")
    (one, first), (two, second) = lines(tmp_path / "a.parquet")
    assert (one, two) == (1, 2)
    assert first["list"] == ["a"]
    assert first["price"] == Decimal("1.50")
    assert first["day"] == "1970-01-01"
    assert second["when"] == "1970-01-01 00:00:01.500000001Z"


def test_dates_that_python_does_not_know_spoil_only_their_own_row(tmp_path: Path):
    far = pa.array([0, 2**62, 1], pa.timestamp("us"))
    table = pa.table(
        {"id": [1, 2, 3], "when": far, "deep": pa.StructArray.from_arrays([far], ["at"])}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert [values["id"] for _, values in lines(tmp_path / "a.parquet")] == [1, 3]
    assert [line for line, _ in problems(tmp_path / "a.parquet")] == [2]


def test_bytes_that_are_not_utf8_stay_in_their_row(tmp_path: Path):
    path = written(tmp_path / "a.csv", "id,title\n1,caf\xe9\n2,tea\n".encode("latin-1"))
    assert [line for line, _ in lines(path)] == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "has no header"),
        ("a.csv", b"\n1,2\n", "has no header"),
        ("a.csv", b" , \n1,2\n", "has no header"),
        ("a.csv", b"id,id\n1,2\n", "names a column twice: id, id"),
        ("a.csv", "id,title\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("a.csv", "id,prix \xe9\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", b'id,"ti"tle\n', "header line is malformed"),
        ("a.parquet", b"not parquet at all", "cannot be read"),
        ("a.xlsx", b"", r"must end in one of \.csv, \.tsv"),
        ("a.parquet.gz", b"", "must end in one of"),
        ("a", b"", "must end in one of"),
    ],
)
def test_a_file_without_usable_columns_is_refused_in_words(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FeedError, match=message):
        read_columns(tmp_path / name)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "none.jsonl", "none.csv.gz"])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, name: str):
    with pytest.raises(FeedError, match="does not exist"):
        read_columns(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(FeedError, match="cannot be read"):
        [read_columns(tmp_path / name), *read_records(tmp_path / name)]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_packed_file_that_breaks_off_gives_its_rows_and_then_says_so(tmp_path: Path, name: str):
    rows = "".join(
        json.dumps({"id": n, "noise": str(n * 2654435761 % 2**32)}) + "\n" for n in range(20_000)
    )
    packed = gzip.compress(rows.encode())
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    seen = 0
    with pytest.raises(FeedError, match="cannot be read"):
        for _ in read_records(tmp_path / name):
            seen += 1
    assert seen > 100
    (tmp_path / name).write_bytes(b"plain text")
    with pytest.raises(FeedError, match="cannot be read"):
        list(read_records(tmp_path / name))
