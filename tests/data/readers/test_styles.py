"""How columns write numbers, dates, true and false: the column decides, or a person; nothing is guessed."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from azubi.data.checks.check import check
from azubi.data.readers.opening import STDIN
from azubi.data.readers.reading import read
from azubi.data.readers.styles import BooleanStyle, DateStyle, NumberStyle
from azubi.data.readers.value import moment, number
from azubi.errors import DataError
from tests.data.readers.writing import lines

NB, NARROW = "\u00a0", "\u202f"
AMOUNT = {"amount": {"column": "v", "type": "number"}}


def shown(style, values):
    for line, value in enumerate(values, start=2):
        style.see(line, value)
    return style


def table(values):
    """A CSV file with a prompt, the values in column v, and a label."""
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerows(
        [("prompt", "v", "label"), *((f"note {i}", v, "a") for i, v in enumerate(values))]
    )
    return file.getvalue()


def amounts(path, **settings):
    reading = read(path, "prompt", AMOUNT, **settings)
    assert not reading.rejected
    return [json.loads(example.answer)["amount"] for example in reading.examples]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["36.954", "1.250,00"], [36954, 1250.0]),
        (["36,954", "1,250.00"], [36954, 1250.0]),
        (["36.954", "0.5"], [36.954, 0.5]),
        (["36.954", "1.250.000"], [36954, 1250000]),
        (["36.954", "0.125"], [36.954, 0.125]),
        (["36.954", "1234.500"], [36.954, 1234.5]),
        (["36.954", "1.250,-"], [36954, 1250]),
        (["36.954", "1.250,\u2013 \u20ac", "12,-- EUR"], [36954, 1250, 12]),
        (["36.954", f"1{NARROW}250,5"], [36954, 1250.5]),
        (["150", "007", f"1{NB}250", "1 250", "1'250", "1\u2019250"], [150, 7, 1250, 1250, 1250, 1250]),
        (["CHF 1'250.\u2013", "CHF 1\u2019250.50", "Fr. 7"], [1250, 1250.5, 7]),
        (["\u20ac 1.250,00", "1.250 EUR", "3 Euro", "5"], [1250.0, 1250, 3, 5]),
        (["(1.250,00)", "1.250,00-", "\u22121,5", "- 3", "(7 \u20ac)"], [-1250.0, -1250.0, -1.5, -3, -7]),
        (["12,5 %", "7%"], [12.5, 7]),
        (["1,25E+05", "2"], [125000.0, 2]),
        ([".5", "+7"], [0.5, 7]),
    ],
)
def test_the_column_decides(file, values, numbers):
    read_back = amounts(file(table(values), "a.csv"))
    assert read_back == numbers
    assert list(map(type, read_back)) == list(map(type, numbers))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["36.954", "150"], ("row 2 “36.954”", "as 36954 or as 36.954", "1 of 2")),
        (["150", "36,954", "1,000 kr"], ("row 3 “36,954”", "2 of 3")),
        (["1.250,00", "1,250.00"], ("row 2 “1.250,00”", "row 3 “1,250.00”")),
        (["1.250,00 \u20ac", "1.250,00 CHF"], ("row 2 “1.250,00 \u20ac”", "row 3 “1.250,00 CHF”")),
        (["0,12", "12,5 %"], ("row 2 “0,12”", "row 3 “12,5 %”")),
    ],
)
def test_what_the_column_leaves_open_is_asked(file, values, named):
    path = file(table(values), "a.csv")
    with pytest.raises(DataError) as caught:
        amounts(path)
    for part in ("The field “amount”", *named):
        assert part in caught.value.problem
    finding = next(
        finding for finding in check(path, "prompt", AMOUNT).findings if finding.kind == "ambiguous_values"
    )
    assert finding.level == "error" and caught.value.problem == finding.title
    assert finding.remedy == caught.value.remedy and finding.cases


@pytest.mark.parametrize(
    "settings", [{"decimal": ","}, {"answer": {"amount": {**AMOUNT["amount"], "decimal": ","}}}]
)
def test_a_setting_decides(file, settings):
    path = file(table(["36.954", "150"]), "a.csv")
    reading = read(path, **{"prompt": "prompt", "answer": AMOUNT, **settings})
    assert [json.loads(example.answer)["amount"] for example in reading.examples] == [36954, 150]
    assert not reading.notes
    findings = check(path, **{"prompt": "prompt", "answer": AMOUNT, **settings}).findings
    assert "ambiguous_values" not in {finding.kind for finding in findings}


def test_the_field_s_own_setting_comes_first(file):
    mapping = {"amount": {"column": "v", "type": "number", "decimal": "."}}
    reading = read(file(table(["36.954"]), "a.csv"), "prompt", mapping, decimal=",")
    assert reading.examples[0].answer == '{"amount": 36.954}'


def test_a_setting_that_every_deciding_row_contradicts_is_refused(file):
    with pytest.raises(DataError, match=r"row 3 “1,250\.00” has a decimal point"):
        amounts(file(table(["36.954", "1,250.00"]), "a.csv"), decimal=",")


def test_with_a_setting_rows_that_differ_are_left_out(file):
    path = file(table(["1.250,00"] * 30 + ["1,250.00"]), "a.csv")
    reading = read(path, "prompt", AMOUNT, decimal=",")
    assert len(reading.examples) == 30
    assert "“1,250.00”, which is not a number with a decimal comma" in reading.rejected[0].reason


@pytest.mark.parametrize(
    "text",
    [
        *("12.34,5", "1.25.000", "1,00,000", "7.", "7,", "about 7", "1,5 Mio", "12 km", "\u0663", "--5"),
        *("(-5)", "inf", "nan", "5 EUR USD", "1 2", "1.250 500,00", "1" * 500, "1e999"),
    ],
)
def test_what_is_no_number(file, text):
    assert number(text) is number(text, ",") is number(text, ".") is None
    path = file(table(["7"] * 30 + [text]), "a.csv")
    assert f"“{text[:60]}”" in read(path, "prompt", AMOUNT).rejected[0].reason


def test_what_was_decided_is_told(file):
    reading = read(file(table(["150", "(1.250,00 \u20ac)"]), "a.csv"), "prompt", AMOUNT)
    (note,) = reading.notes
    for part in (
        "the field “amount”: decimal comma, as row 3 “(1.250,00 \u20ac)” shows",
        "the number without its EUR",
        "mean below zero",
    ):
        assert part in note


def test_large_whole_numbers_are_exact_or_refused(file):
    mapping = {"n": {"column": "v", "type": "integer"}}
    path = file(table(["9.007.199.254.740.993", "1.250,00"] * 20 + ["9.007.199.254.740.993,00"]), "a.csv")
    reading = read(path, "prompt", mapping)
    assert [json.loads(example.answer)["n"] for example in reading.examples] == [9007199254740993, 1250] * 20
    assert len(reading.rejected) == 1


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "-"])
def test_the_whole_column_decides_wherever_it_comes_from(file, name, monkeypatch):
    import gzip
    import sys

    content = table(["36.954"] * 500 + ["1.250,00"]).encode()
    path = file(gzip.compress(content) if name.endswith("gz") else content, name)
    if name == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        path = STDIN
    assert amounts(path) == [36954] * 500 + [1250.0]


def test_numbers_that_are_none_of_text_say_nothing(file):
    rows = [{"prompt": f"n{i}", "v": v} for i, v in enumerate([36.954, 12.5, "150", 3])]
    assert amounts(file(lines(*rows))) == [36.954, 12.5, 150, 3]


def test_weights_are_numbers_too(file):
    path = file(table(["0,5", "1.000"]), "a.csv")
    assert [example.weight for example in read(path, "prompt", "label", weight="v").examples] == [0.5, 1000.0]
    with pytest.raises(DataError, match="The weight: 1 of 1 values can be read in two ways"):
        read(file(table(["1.500"]), "a.csv"), "prompt", "label", weight="v")


# Any locale

PLACES = st.sampled_from([(",", "."), (",", " "), (",", NB), (",", NARROW), (",", "'"), (",", "")])
STYLES = PLACES | st.sampled_from([(".", ","), (".", "'"), (".", "\u2019"), (".", " "), (".", NB), (".", "")])
UNITS = st.sampled_from(["{}", "{} \u20ac", "\u20ac {}", "{}\u20ac", "CHF {}", "{} EUR", "{} %", "$ {}"])
NEGATIVES = st.sampled_from(["-{}", "({})", "{}-", "\u2212{}", "- {}"])


def as_written(number, decimals, style, negative, unit):
    sign, group = style
    text = f"{abs(number):,.{decimals}f}".replace(",", "\0").replace(".", sign).replace("\0", group)
    return unit.format(negative.format(text) if number < 0 else text)


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=12),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    *(STYLES, NEGATIVES, UNITS),
)
def test_a_column_of_any_locale_is_read_exactly_or_refused(values, decimals, style, negative, unit):
    places = [decimals[i % len(decimals)] for i in range(len(values))]
    numbers = [value / 10**digits if digits else value for value, digits in zip(values, places, strict=True)]
    column = [
        as_written(number, digits, style, negative, unit)
        for number, digits in zip(numbers, places, strict=True)
    ]
    style_read = shown(NumberStyle("the amount", "v", None), column)
    # The column is settled with the right numbers, or a person is asked: there is no third way.
    if not list(style_read.undecided()):
        assert [number(text, style_read.decimal) for text in column] == numbers
    # Who then says how it is written gets the right numbers in any case.
    decided = shown(NumberStyle("the amount", "v", style[0]), column)
    assert not list(decided.undecided())
    assert [number(text, style[0]) for text in column] == numbers


@given(st.lists(st.tuples(st.integers(1, 10**9), STYLES, st.integers(0, 3)), min_size=1, max_size=8))
def test_columns_of_mixed_locales_are_never_half_read(values):
    column = [as_written(number / 10**digits, digits, style, "-{}", "{}") for number, style, digits in values]
    style_read = shown(NumberStyle("the amount", "v", None), column)
    assume(not list(style_read.undecided()))
    signs = [sign for sign in (",", ".") if style_read.decimal in (None, sign)]
    assert len({tuple(number(text, sign) for text in column) for sign in signs}) == 1
    assert all(number(text, signs[0]) is not None for text in column)


# Dates


def times(path, **settings):
    return [example.time for example in read(path, "prompt", "label", time="v", **settings).examples]


@pytest.mark.parametrize(
    ("values", "isos"),
    [
        (["31/03/2025", "04/05/2025"], ["2025-03-31", "2025-05-04"]),
        (["03/04/2025", "13/02/2025"], ["2025-04-03", "2025-02-13"]),
        (["03/04/2025", "02/13/2025"], ["2025-03-04", "2025-02-13"]),
        (["03-04-2025", "13-02-2025 7:05"], ["2025-04-03", "2025-02-13T07:05:00"]),
        (["03.04.2025"], ["2025-04-03"]),
        (["04/04/2025", ""], ["2025-04-04", ""]),
        (["2025-04-03", "2025/04/03"], ["2025-04-03", "2025-04-03"]),
        (["03/04/2025 2:30 PM", "02/13/2025 12:01 am"], ["2025-03-04T14:30:00", "2025-02-13T00:01:00"]),
    ],
)
def test_the_column_decides_of_dates(file, values, isos):
    assert times(file(table(values), "a.csv")) == isos


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["03/04/2025", "04/04/2025"], ("row 2 “03/04/2025”", "as 2025-04-03 or as 2025-03-04", "1 of 2")),
        (["03/04/2025", "13.02.2025"], ("row 2 “03/04/2025”",)),
        (["13/02/2025", "02/13/2025"], ("row 2 “13/02/2025”", "row 3 “02/13/2025”")),
        (["03.04.2025", "02.13.2025"], ("row 2 “03.04.2025”", "row 3 “02.13.2025”")),
    ],
)
def test_open_dates_are_asked(file, values, named):
    path = file(table(values), "a.csv")
    with pytest.raises(DataError) as caught:
        times(path)
    assert all(part in caught.value.problem for part in named) and "dates: day-first" in caught.value.remedy
    kinds = {
        finding.kind
        for finding in check(path, "prompt", "label", time="v").findings
        if finding.level == "error"
    }
    assert "ambiguous_values" in kinds


def test_the_setting_decides_of_dates(file):
    path = file(table(["03/04/2025", "04/04/2025"]), "a.csv")
    assert times(path, dates="day-first") == ["2025-04-03", "2025-04-04"]
    assert times(path, dates="month-first") == ["2025-03-04", "2025-04-04"]
    with pytest.raises(DataError, match="row 3 “13/02/2025” has the day first"):
        times(file(table(["03/04/2025", "13/02/2025"]), "a.csv"), dates="month-first")


def test_years_of_two_digits_are_refused(file):
    with pytest.raises(DataError, match=r"“03\.04\.25” has a year of two digits"):
        times(file(table(["03.04.25"]), "a.csv"))


def test_what_may_be_wrong_with_times_is_told():
    zones = shown(DateStyle("the time", "v", None), ["2025-04-03T10:00:00Z", "2025-04-03T10:00:00"])
    assert "as UTC where no time zone is named (row 3" in next(zones.remarks())
    cells = shown(DateStyle("the time", "v", None), [date(2025, 4, 3), "13/02/2025"])
    assert any("may have swapped day and month" in remark for remark in cells.remarks())


MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@given(
    st.lists(MOMENTS, min_size=1, max_size=8),
    st.sampled_from(["%d{0}%m{0}%Y", "%m{0}%d{0}%Y"]),
    st.sampled_from("/-"),
    st.sampled_from(["", " %H:%M:%S", ", %I:%M:%S %p"]),
)
def test_dates_of_any_country_are_read_exactly_or_refused(values, order, sign, clock):
    column = [value.strftime(order.format(sign) + clock) for value in values]
    wanted = [(value.isoformat() if clock else value.date().isoformat()) for value in values]
    style_read = shown(DateStyle("the time", "v", None), column)
    if not list(style_read.undecided()):
        assert [moment(text, style_read.order) for text in column] == wanted
    order_name = "day-first" if order.startswith("%d") else "month-first"
    assert [moment(text, order_name) for text in column] == wanted


@given(MOMENTS, st.integers(-14 * 4, 14 * 4))
def test_a_time_zone_counts(value, quarters):
    zoned = value.replace(tzinfo=timezone(timedelta(minutes=15 * quarters)))
    assert moment(zoned.isoformat()) == moment(zoned) == zoned.astimezone(UTC).isoformat()


# Whatever else

PIECES = st.sampled_from(
    [*"0123456789.,-/: 'eE%()", "12", "2025", "\u20ac", "EUR", "x", "ja", "\u2013", "pm", "\ud800"]
)


@given(
    st.lists(
        st.lists(PIECES, max_size=12).map("".join)
        | st.sampled_from(["03/04/25", "03/04/0000", "03/04/2025 25:99", f"36.954{' ' * 60}", "31/04/2025"])
        | st.none()
        | st.booleans()
        | st.floats()
        | st.binary()
        | st.datetimes(timezones=st.timezones() | st.none()),
        max_size=6,
    )
)
def test_any_column_is_read_or_asked_about(values):
    for style in (NumberStyle, DateStyle, BooleanStyle):
        style = shown(style("the column", "v", None), values)
        for question in style.undecided():
            assert question.problem and question.remedy and question.count and question.cases
            assert all(len(text) <= 40 for _, text in question.cases)
        assert all(style.remarks())


# True and false

URGENT = {"urgent": {"column": "v", "type": "boolean"}, "label": "label"}


@pytest.mark.parametrize(
    ("values", "truths"),
    [
        (["ja", "Nein", ""], [True, False, None]),
        (["1", "0"], [True, False]),
        (["\u2713", "\u2717", "\u2714\ufe0f"], [True, False, True]),
        (["j", "n", "y"], [True, False, True]),
        (["x", "X"], [True, True]),
        (["ja", "0"], [True, False]),
    ],
)
def test_words_for_true_and_false(file, values, truths):
    reading = read(file(table(values), "a.csv"), "prompt", URGENT)
    assert [json.loads(example.answer)["urgent"] for example in reading.examples] == truths


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["x", ""], ("row 2 “x” or empty (1 of 2 cells, as in row 3)",)),
        (["ja", "", "ja"], ("row 2 “ja” or empty",)),
        (["x", "nein"], ("row 2 “x”", "row 3 “nein”")),
        (["\u2713", "x"], ("row 3 “x”", "row 2 “\u2713”")),
    ],
)
def test_open_truths_are_asked(file, values, named):
    path = file(table(values), "a.csv")
    with pytest.raises(DataError) as caught:
        read(path, "prompt", URGENT)
    assert all(part in caught.value.problem for part in named)
    assert "ambiguous_values" in {finding.kind for finding in check(path, "prompt", URGENT).findings}


@pytest.mark.parametrize(("empty", "truth"), [(False, False), ("unknown", None)])
def test_the_setting_decides_of_empty_cells(file, empty, truth):
    mapping = {"urgent": {**URGENT["urgent"], "empty": empty}, "label": "label"}
    reading = read(file(table(["x", ""]), "a.csv"), "prompt", mapping)
    assert [json.loads(example.answer)["urgent"] for example in reading.examples] == [True, truth]


def test_unknown_and_mixed_words_are_named(file):
    reading = read(file(table(["ja"] * 30 + ["nein", "vielleicht"]), "a.csv"), "prompt", URGENT)
    assert "“vielleicht”, which is not true or false" in reading.rejected[0].reason
    mixed = shown(BooleanStyle("the field", "v", None), ["ja", "0", 1.0, True])
    assert "row 2 “ja”, row 3 “0”" in next(mixed.remarks())
