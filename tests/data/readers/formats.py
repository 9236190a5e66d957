"""Every form in which rows can be brought: one list, with which whatever reads sources is tested."""

import csv
import gzip
import io
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
from pyarrow import parquet

Settings = dict[str, Any]
"""Settings of the recipe that name the source; `data` is its path."""


@dataclass(frozen=True)
class Format:
    """A form, the module that reads it, and what writes it."""

    reader: str
    write: Callable[[Path, Sequence[str], Sequence[str] | None], Settings]
    """Folder, prompts and answers; without answers, it is a source that is to be asked."""


def rows(prompts: Sequence[str], answers: Sequence[str] | None) -> list[dict[str, Any]]:
    if answers is None:
        return [{"prompt": prompt} for prompt in prompts]
    return [{"prompt": prompt, "answer": answer} for prompt, answer in zip(prompts, answers, strict=True)]


def put(folder: Path, name: str, content: str | bytes) -> Settings:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {"data": path}


def as_lines(items: Sequence[object]) -> str:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


def jsonl(folder, prompts, answers):
    return put(folder, "rows.jsonl", as_lines(rows(prompts, answers)))


def gz(folder, prompts, answers):
    return put(folder, "rows.jsonl.gz", gzip.compress(as_lines(rows(prompts, answers)).encode()))


def zst(folder, prompts, answers):
    packed = pyarrow.compress(as_lines(rows(prompts, answers)).encode(), codec="zstd", asbytes=True)
    return put(folder, "rows.zst", packed)


def listed(folder, prompts, answers):
    return put(folder, "rows.json", json.dumps(rows(prompts, answers)))


def spread(folder, prompts, answers):
    return put(folder, "rows", json.dumps(rows(prompts, answers), indent=1))


def table(prompts, answers, delimiter):
    out = io.StringIO(newline="")
    records = rows(prompts, answers)
    writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def comma(folder, prompts, answers):
    return put(folder, "rows.csv", table(prompts, answers, ","))


def western(folder, prompts, answers):
    text = table(prompts, answers, ";").encode("cp1252")
    return put(folder, "rows.csv", text) | {"encoding": "cp1252"}


def bars(folder, prompts, answers):
    return put(folder, "rows.csv", table(prompts, answers, "|")) | {"delimiter": "|"}


def tabs(folder, prompts, answers):
    return put(folder, "rows.txt", table(prompts, answers, "\t").encode("utf-16"))


def workbook(folder, prompts, answers):
    book = openpyxl.Workbook()
    book.create_sheet("Rows")
    records = rows(prompts, answers)
    for row in (list(records[0]), *(list(record.values()) for record in records)):
        book["Rows"].append(row)
    book.save(folder / "rows.xlsx")
    return {"data": folder / "rows.xlsx", "sheet": "Rows"}


def columnar(folder, prompts, answers):
    parquet.write_table(pyarrow.Table.from_pylist(rows(prompts, answers)), folder / "rows.parquet")
    return {"data": folder / "rows.parquet"}


def database(folder, prompts, answers):
    records = rows(prompts, answers)
    names = ", ".join(records[0])
    with sqlite3.connect(folder / "rows.db") as made:
        made.execute(
            f"CREATE TABLE rows (number INTEGER PRIMARY KEY, {', '.join(f'{n} TEXT' for n in records[0])})"
        )
        marks = ", ".join("?" for _ in records[0])
        made.executemany(
            f"INSERT INTO rows ({names}) VALUES ({marks})", [tuple(record.values()) for record in records]
        )
    made.close()
    return {"sql": f"sqlite:///{folder}/rows.db", "query": f"SELECT {names} FROM rows ORDER BY number"}


def documents(folder, prompts, answers):
    for number, prompt in enumerate(prompts):
        (folder / f"{number:04}.txt").write_text(prompt, encoding="utf-8")
    if answers is not None:
        index = "".join(f"{number:04}.txt,{answer}\n" for number, answer in enumerate(answers))
        (folder / "answers.csv").write_text(f"file,answer\n{index}")
    return {"data": folder}


def talks(prompts, answers, name, mark, body, who):
    """Conversations of one question and its answer, if there is one."""
    for place, prompt in enumerate(prompts):
        last = [{mark: who[1], body: answers[place]}] if answers is not None else []
        yield {name: [{mark: who[0], body: prompt}, *last]}


def openai(folder, prompts, answers):
    records = talks(prompts, answers, "messages", "role", "content", ("user", "assistant"))
    return put(folder, "talks.jsonl", as_lines(list(records)))


def sharegpt(folder, prompts, answers):
    records = talks(prompts, answers, "conversations", "from", "value", ("human", "gpt"))
    return put(folder, "talks.json", json.dumps(list(records)))


def cells(folder, prompts, answers):
    """Conversations in the cells of a table."""
    records = talks(prompts, answers, "messages", "role", "content", ("user", "assistant"))
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([["messages"], *([json.dumps(record["messages"])] for record in records)])
    return put(folder, "talks.csv", out.getvalue())


def nested(folder, prompts, answers):
    records = talks(prompts, answers, "messages", "role", "content", ("user", "assistant"))
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), folder / "talks.parquet")
    return {"data": folder / "talks.parquet"}


def renamed(folder, prompts, answers, names, value=lambda prompt: prompt):
    records = [
        {new: value(row[old]) if old == "prompt" else row[old] for old, new in names.items() if old in row}
        for row in rows(prompts, answers)
    ]
    return put(folder, "pairs.jsonl", as_lines(records))


def alpaca(folder, prompts, answers):
    return renamed(folder, prompts, answers, {"prompt": "instruction", "answer": "output"})


def completion(folder, prompts, answers):
    return renamed(folder, prompts, answers, {"prompt": "prompt", "answer": "completion"})


def preference(folder, prompts, answers):
    """The prompt as a list of messages, as Hugging Face's trainers have it."""
    names = {"prompt": "prompt", "answer": "completion"}
    return renamed(folder, prompts, answers, names, lambda prompt: [{"role": "user", "content": prompt}])


FORMS = {
    "jsonl": Format("text_rows", jsonl),
    "jsonl.gz": Format("text_rows", gz),
    "zst": Format("text_rows", zst),
    "list in one line": Format("text_rows", listed),
    "list in lines": Format("text_rows", spread),
    "csv": Format("text_rows", comma),
    "csv in cp1252": Format("text_rows", western),
    "csv with bars": Format("text_rows", bars),
    "tabs in utf-16": Format("text_rows", tabs),
    "xlsx": Format("tables", workbook),
    "parquet": Format("tables", columnar),
    "database": Format("database", database),
    "documents": Format("documents", documents),
    "messages": Format("text_rows", openai),
    "sharegpt": Format("text_rows", sharegpt),
    "messages in cells": Format("text_rows", cells),
    "messages in parquet": Format("tables", nested),
    "alpaca": Format("text_rows", alpaca),
    "completion": Format("text_rows", completion),
    "prompt of messages": Format("text_rows", preference),
}
