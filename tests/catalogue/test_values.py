from datetime import UTC, datetime
from decimal import Decimal

import pytest

from recsys.catalogue.values import (
    as_flag,
    as_json,
    as_list,
    as_number,
    as_object,
    as_price,
    as_text,
    as_time,
)

NAN = float("nan")
MOMENT = datetime(2012, 4, 23, 18, 25, 43, 511000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((" a ", " a "), ("", None), (None, None), (NAN, None), (7, "7"), (7.0, "7")),
        *((7.5, "7.5"), (10**40, "1" + "0" * 40), (True, "true"), (["a", None, 1], "a. 1")),
        *((Decimal("1.50"), "1.50"), ({"ü": 1}, '{"ü": 1}'), (1e300, f"{1e300:.0f}")),
    ],
)
def test_text(written, expected):
    assert as_text(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *(("4.5", 4.5), (" 5 ", 5), (3, 3), (Decimal("1.5"), 1.5)),
        *((NAN, None), ("NaN", None), ("", None), ("None", None), (None, None)),
    ],
)
def test_numbers(written, expected):
    assert as_number(written) == expected


@pytest.mark.parametrize("written", ["five", "inf", "-Infinity", 1e400, 10**400, [1], {}])
def test_what_is_no_finite_number_is_refused(written):
    with pytest.raises(ValueError, match="found"):
        as_number(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((12, (12, None)), ("12.50", (12.5, None)), ("$1,299.99", (1299.99, None))),
        *(("15.00 USD", (15, "USD")), ("eur 3", (3, "EUR")), ("3 €", (3, None))),
        *(("", (None, None)), ("nan", (None, None)), ("-3", (-3, None)), (".99", (0.99, None))),
    ],
)
def test_prices(written, expected):
    assert as_price(written) == expected


@pytest.mark.parametrize("written", ["12,99", "from 3 to 5", "1,29,9", "free"])
def test_a_price_that_could_mean_two_things_is_refused(written):
    with pytest.raises(ValueError, match="expected a number"):
        as_price(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((True, True), (0, False), ("In Stock", True), ("out of stock", False), ("1.0", True)),
        *(("", None), (None, None), (NAN, None)),
    ],
)
def test_flags(written, expected):
    assert as_flag(written) is expected


@pytest.mark.parametrize(
    "written",
    [
        *(1335205543.511, "1335205543.511", 1335205543511, "1335205543511", 1335205543511000),
        *("2012-04-23T18:25:43.511Z", "2012-04-23 18:25:43.511", "2012-04-23 20:25:43.511+02:00"),
        *("2012-04-23 18:25:43.511 UTC", "20120423T182543.511Z"),
    ],
)
def test_one_moment_in_every_way_it_is_written(written):
    assert as_time(written) == MOMENT


@pytest.mark.parametrize("written", ["", " ", None, "nan", NAN, "NULL"])
def test_no_time_is_none(written):
    assert as_time(written) is None


@pytest.mark.parametrize(
    "written",
    [
        *("yesterday", "01/02/2012", "2012-13-01", "10000-01-01", 10**17, -(10**17), 10**400),
        *("9" * 19, "9" * 5_000, "inf", float("inf"), 1e300, ["2012-01-01"], "12:00"),
    ],
)
def test_what_is_no_moment_is_refused(written):
    with pytest.raises(ValueError, match=r"found|outside"):
        as_time(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Action|Sci-Fi| ", ("Action", "Sci-Fi")),
        ("Food & Drink", ("Food & Drink",)),
        ("'Beauty', \"Women's\", 'a\\'b'", ("Beauty", "Women's", "a'b")),
        ("['Beauty', 'Make, up']", ("Beauty", "Make, up")),
        ('["a", ["b", "c"]]', ("a", "b", "c")),
        ("[sic] a|b", ("[sic] a", "b")),
        ("'tis|b", ("'tis", "b")),
        (["a", None, "", ["b", 3]], ("a", "b", "3")),
        ([{"thumb": "t.jpg", "large": "l.jpg"}, {}], ("l.jpg",)),
        *(("(no genres listed)", ()), ("", ()), (None, ()), (NAN, ())),
        ("[" * 5_000, ("[" * 5_000,)),
    ],
)
def test_lists(written, expected):
    assert as_list(written, "|") == expected


def test_lists_are_cut_where_told():
    assert as_list("a > b|c", " > ") == ("a", "b|c")


def test_attributes_keep_their_kind_and_drop_what_is_empty():
    assert as_json([1, {"a": Decimal("1.5")}]) == [1, {"a": "1.5"}]
    assert (as_json(True), as_json(0), as_json("0")) == (True, 0, "0")
    assert [as_json(empty) for empty in ("", None, NAN, [], {})] == [None] * 5


def test_an_object_may_be_written_as_text():
    assert as_object('{"a": 1}') == as_object({"a": 1}) == {"a": 1}
    assert as_object("") is as_object(None) is None
    with pytest.raises(ValueError, match="expected a JSON object"):
        as_object("[1]")
