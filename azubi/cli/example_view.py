"""One test example, drawn: the question on top, below it what the base, the specialist and the truth say.

Records are set field by field; what is wrong bears a ✗, so colour is not needed. Judges nothing itself:
`azubi.evaluation.comparison` says which field is right.
"""

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from azubi.cli.formatting import clean, shorten
from azubi.data.contract import Contract
from azubi.evaluation.comparison import Cell, FieldRow, field_rows
from azubi.events import events as ev

QUESTION_SHOWN = 700
ANSWER_SHOWN = 400


def side_by_side(number: int, example: ev.Compared, data: ev.DataReady | None) -> RenderableType:
    """Draw one example to the width of the console."""
    question = Text(shorten(clean(example.prompt).strip(), QUESTION_SHOWN))
    return Group(
        Text(f"Example {number}", style="bold"), Padding(question, (0, 0, 0, 2)), *_answers(example, data)
    )


def _answers(example: ev.Compared, data: ev.DataReady | None) -> list[RenderableType]:
    contract = Contract(task=data.task, labels=data.labels, fields=data.fields) if data else None
    if contract is None or contract.task != "json" or contract.parse(example.truth) is None:
        return [_texts(example, marked=contract is not None and contract.task == "labels")]
    rows = field_rows(contract, example.truth, example.base, example.specialist)
    unreadable = {
        who: answer
        for who, answer in (("base", example.base), ("specialist", example.specialist))
        if contract.parse(answer) is None
    }
    return [_fields(rows), *(_raw(who, answer) for who, answer in unreadable.items())]


def _fields(rows: tuple[FieldRow, ...]) -> Table:
    table = _table("field")
    for row in rows:
        right = _plain(_said(row.truth))
        table.add_row(Text(clean(row.name)), _field(row.base), _field(row.specialist), right)
    return table


def _field(cell: Cell) -> Text:
    return _marked(_said(cell), cell.right)


def _said(cell: Cell) -> str:
    return f"({cell.lacks})" if cell.lacks else cell.text


def _texts(example: ev.Compared, *, marked: bool) -> Table:
    table = _table()
    truth = example.truth.strip()
    said = (example.base, example.specialist)
    cells = [_marked(a, a.strip() == truth) if marked else _plain(a) for a in said]
    table.add_row(*cells, _plain(truth))
    return table


def _table(*first: str) -> Table:
    table = Table(box=ROUNDED, expand=True, padding=(0, 1))
    for heading in first:
        table.add_column(heading, no_wrap=True, max_width=20, overflow="ellipsis")
    for heading in ("base", "specialist", "right answer"):
        table.add_column(heading, ratio=1, overflow="fold")
    return table


def _plain(answer: str) -> Text:
    return Text(shorten(clean(answer).strip(), ANSWER_SHOWN) or "(empty)")


def _marked(answer: str, right: bool) -> Text:
    mark, style = ("✓ ", "green") if right else ("✗ ", "red")
    return Text(mark, style=style).append(_plain(answer))


def _raw(who: str, answer: str) -> RenderableType:
    """What was said instead of a record."""
    return Padding(Text(f"The {who} gave no record, but: ").append(_plain(answer)), (0, 0, 0, 2))
