"""Whatever a table holds comes back from every format as it was."""

import csv
import io
import json
import sqlite3

import openpyxl
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from pyarrow import parquet

from azubi.data.readers.mapping import PromptTemplate
from azubi.data.readers.reading import read

letters = st.characters(exclude_categories=("Cs",), exclude_characters="\0\r")
texts = st.text(letters, min_size=1, max_size=30).filter(lambda text: text.strip() and text == text.strip())
tables = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pairs(reading):
    assert not reading.rejected
    return [(example.prompt, example.answer) for example in reading.examples]


@quick
@given(
    tables, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-16"])
)
def test_csv(tmp_path, table, delimiter, end, encoding):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("prompt", "answer"), *table])
    path = tmp_path / "a.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    assert pairs(read(path, delimiter=delimiter, encoding=encoding)) == table
    if encoding == "utf-8" and delimiter != "|":
        assert pairs(read(path)) == table


@quick
@given(tables, st.booleans())
def test_json(tmp_path, table, as_list):
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in table]
    path = tmp_path / ("a.json" if as_list else "a.jsonl")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(json.dumps(rows, ensure_ascii=False) if as_list else lines, encoding="utf-8")
    assert pairs(read(path)) == table


@settings(quick, max_examples=15)
@given(tables)
def test_parquet(tmp_path, table):
    columns = {"prompt": [prompt for prompt, _ in table], "answer": [answer for _, answer in table]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    assert pairs(read(tmp_path / "a.parquet")) == table


@settings(quick, max_examples=15)
@given(tables)
def test_workbook(tmp_path, table):
    book = openpyxl.Workbook()
    rows = [tuple(ILLEGAL_CHARACTERS_RE.sub("", text).strip(" =") or "x" for text in row) for row in table]
    for row in [("prompt", "answer"), *rows]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    got = pairs(read(tmp_path / "a.xlsx"))
    # XML turns some line ends and spaces into others.
    assert [[cell.split() for cell in row] for row in got] == [[cell.split() for cell in row] for row in rows]


@quick
@given(tables)
def test_database(tmp_path, table):
    path = tmp_path / "a.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (prompt TEXT, answer TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", table)
    database.close()
    assert pairs(read(sql=f"sqlite:///{path}", query="SELECT * FROM t")) == table


@given(
    st.dictionaries(st.text(letters.filter(lambda sign: sign not in "{}"), min_size=1), texts, min_size=1),
    texts,
)
def test_templates_put_in_what_the_columns_hold(row, between):
    escaped = between.replace("{", "{{").replace("}", "}}")
    phrase = PromptTemplate(escaped.join(f"{{{name}}}" for name in row))
    assert phrase.fill(row) == between.join(row.values())
    assert phrase.columns == tuple(row)


@pytest.mark.parametrize("text", ["{a}" * 5_000, "{" * 10_000 + "a" + "}" * 10_000])
def test_long_templates(text):
    assert PromptTemplate(text if "}{" in text else f"{text}{{b}}").columns
