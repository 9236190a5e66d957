"""From a row to an example: which columns are prompt, answer, and facts about the row.

A prompt template such as `{subject}: {body}` names columns and can do nothing else. Knows nothing of files,
and does not judge whether answers are right.
"""

import re
from collections.abc import Callable, KeysView, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from math import isfinite
from typing import Any

from azubi.data import contract, strict_json
from azubi.data.example import Example, Turn
from azubi.data.readers import row, value
from azubi.data.readers.row import (
    LONGEST_ROW,
    Asked,
    Conversation,
    Rejected,
    Row,
    Unusable,
    quoted,
    reject,
    reject_question,
    written,
)
from azubi.data.readers.styles import BooleanStyle, DateStyle, NumberStyle, Style, Undecided
from azubi.data.readers.text_rows import Repairs
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe, RecordField

NO_PROMPT, NO_ANSWER = "no prompt", "no answer"

Layout = Callable[[Mapping[str, Any], bool, bool], Conversation]
"""A way in which others publish conversations."""
_MESSAGES: tuple[tuple[str, Layout], ...] = (("messages", row.openai), ("conversations", row.sharegpt))
"""Layouts by the column that holds a list of messages."""
_PAIRS: tuple[tuple[str, str, Layout], ...] = (
    ("prompt", "completion", row.completion),
    ("instruction", "output", row.alpaca),
)
"""Layouts by the columns of question and answer."""


class Columns:
    """What a recipe says about the columns of a source."""

    def __init__(
        self, recipe: Recipe, text_column: str | None, repairs: Repairs, *, asked: bool = False
    ) -> None:
        """Take the mapping; `text_column` is the prompt if the recipe says nothing.

        What is mended is counted by `repairs`. Rows that are `asked` need no answer, and nothing is read of
        them but what is asked.

        Raises:
            SettingError: the mapping contradicts itself.
        """
        standard = Recipe.model_fields
        prompt_given = recipe.prompt != standard["prompt"].default
        self._mapping_given = prompt_given or recipe.answer != standard["answer"].default
        self._prompt = PromptTemplate(recipe.prompt if prompt_given else text_column or recipe.prompt)
        self._answer = recipe.answer
        self._label = _label_field(recipe)
        if self._prompt.columns == (recipe.prompt,) == (recipe.answer,):
            raise SettingError(
                f"The column “{recipe.prompt}” is named both as prompt and as answer.",
                "Name two different columns with --prompt and --answer.",
            )
        self.asked = asked
        columns = self._prompt.columns
        self.line = columns[0] if asked and len(columns) == 1 else None
        """The column that a line of plain text may stand for; None if it cannot."""
        self._asked_columns = frozenset(columns)
        self._named = self._asked_columns | frozenset(self._answer_columns())
        self._every_turn = recipe.turns == "all"
        self._repairs = repairs
        self._may_be_records = recipe.task in ("auto", "json")
        self._about = {} if asked else _fact_columns(recipe)
        self.answered = 0
        """Conversations that were asked although they end with an answer."""
        self._fields = _field_styles(recipe)
        weight, time = self._about.get("weight"), self._about.get("time")
        self._weights = NumberStyle("the weight", weight, recipe.decimal) if weight else None
        self._times = DateStyle("the time", time, recipe.dates) if time else None
        styles = (*self._fields.values(), self._weights, self._times)
        self.styles: tuple[Style, ...] = tuple(style for style in styles if style is not None)
        """Of the columns that can only be read once all rows were seen: see `settle`."""

    # Before rows are read

    def see(self, row: Row) -> None:
        """Let a row show how its columns write numbers, dates, true and false."""
        for style in self.styles:
            if style.column in row.values:
                style.see(row.line, row.values[style.column])

    def settle(self) -> list[Undecided]:
        """Read from now on as the rows have shown. What they leave open is returned, and not read."""
        if not isinstance(self._answer, str):
            self._answer = {name: self._settled(name, field) for name, field in self._answer.items()}
        for name, style in (("weight", self._weights), ("time", self._times)):
            if style is not None and any(style.undecided()):
                del self._about[name]
        return [question for style in self.styles for question in style.undecided()]

    def _settled(self, name: str, field: RecordField) -> RecordField:
        style = self._fields.get(name)
        if style is not None and any(style.undecided()):
            return field.model_copy(update={"type": None})
        update = {"decimal": style.decimal} if isinstance(style, NumberStyle) else {}
        return field.model_copy(update=update)

    @property
    def settings(self) -> dict[str, Any]:
        """What was settled, as the recipe says it: so other rows are read the same way."""
        return {"answer": self._answer} | ({"dates": self._times.order} if self._times else {})

    def remarks(self) -> str:
        """How the columns are read, as far as a person should know; empty if there is nothing to say."""
        parts = [(style.name, ", ".join(style.remarks())) for style in self.styles]
        return "; ".join(f"{name}: {remarks}" for name, remarks in parts if remarks)

    def check(self, columns: Sequence[str], name: str) -> None:
        """Refuse a table that lacks a column that is named.

        Raises:
            DataError: names the columns that are there.
        """
        for column, what in self._needed(columns):
            if column not in columns:
                more = {"prompt": " (what is asked)", "answer": " (the right answer)"}.get(what, "")
                remedy = f"Name the right column with --{what}{more}."
                raise DataError(f"{name} {_missing(column, columns)}.", remedy)
            if f"{column} (2)" in columns:
                raise DataError(
                    f"{name} has two columns “{column}”, and it is not said which of them is the {what}.",
                    "Give each column a name of its own.",
                )

    def missing(self, columns: Sequence[str]) -> str | None:
        """The first column that is needed and is not among these; None if all are there."""
        return next((column for column, _ in self._needed(columns) if column not in columns), None)

    def used(self, columns: Sequence[str]) -> list[str]:
        """Those of a table's columns that examples are made of; all where one is missing, to name them.

        Rows that are asked come back with their answers, and so with all that they have.
        """
        if self.asked or self.missing(columns) is not None:
            return list(columns)
        wanted = {column for column, _ in self._needed(columns)}
        if self._layout(dict.fromkeys(columns).keys()) is not None:
            wanted |= row.COLUMNS
        return [column for column in columns if column in wanted]

    def _needed(self, columns: Sequence[str]) -> list[tuple[str, str]]:
        """Each column that a table has to have, and what for."""
        needed = [(column, name) for name, column in self._about.items()]
        if self._layout(dict.fromkeys(columns).keys()) is None:
            answers = [(column, "answer") for column in self._answer_columns() if not self.asked]
            needed = [*((column, "prompt") for column in self._prompt.columns), *answers, *needed]
        return needed

    def _answer_columns(self) -> list[str]:
        if isinstance(self._answer, str):
            return [self._answer]
        return [field.column for field in self._answer.values()]

    def _layout(self, columns: KeysView[str]) -> Layout | None:
        """The published layout that these columns have; None if they are taken as the recipe names them."""
        named = (self._asked_columns if self.asked and self._mapping_given else self._named) <= columns
        if self._mapping_given and named:
            return None
        for column, layout in _MESSAGES:
            if column in columns:
                return layout
        if self._mapping_given or named:
            return None
        for question, answer, layout in _PAIRS:
            if question in columns and answer in columns:
                return layout
        if not self.asked or self._asked_columns <= columns:
            return None
        return next((layout for question, _, layout in _PAIRS if question in columns), None)

    # Reading a row

    def example(self, row: Row) -> Example | Rejected:
        """Make an example of a row, or say why that cannot be."""
        try:
            turns, answer = self._conversation(self._prepared(row))
            example = Example(turns, self._mended_answer(answer.strip(), row.line), row.line)
            if self._about:
                example = self._with_facts(example, row.values)
            _check_texts(example)
        except Unusable as error:
            return reject(row, str(error))
        return example

    def question(self, row: Row) -> Asked:
        """What a row asks, or why it cannot be asked."""
        try:
            turns, answer = self._conversation(self._prepared(row))
            _check_texts(Example(turns, ""), asked=True)
        except Unusable as error:
            return reject_question(Rejected(row.line, str(error)), row.values)
        self.answered += bool(answer)
        return Asked(row.line, row.values, turns)

    def _prepared(self, row: Row) -> Mapping[str, Any]:
        """The row's values, conversations that stand as JSON in cells of a table among them as what they say.

        Raises:
            Unusable: such a cell is no JSON, or a number is infinite.
        """
        for column in (*(self._asked_columns if self.asked else self._named), *self._about.values()):
            cell = row.values.get(column)
            if isinstance(cell, float | Decimal) and not isfinite(cell):
                if cell == cell:
                    raise Unusable(f"“{column}” is {cell}, which JSON does not have")
                self._repairs.count_empty(row.line, column)
        for column, _ in _MESSAGES:
            if isinstance(text := row.values.get(column), str) and self._layout(row.values.keys()):
                return {**row.values, column: self._parsed(column, text, row.line)}
        return row.values

    def _parsed(self, column: str, text: str, line: int) -> Any:
        try:
            return strict_json.parse(text)
        except strict_json.NotJson as error:
            if (repaired := self._repairs.repair(line, text)) is not None:
                return repaired
            raise Unusable(f"“{column}” {strict_json.fault(text, error)}") from None

    def _mended_answer(self, answer: str, line: int) -> str:
        """The answer; if it is nearly a record, and that is to be mended, as one."""
        body = contract.meant_as_record(answer) if self._may_be_records else ""
        if not body or contract.parse_record(body) is not None:
            return answer
        record = self._repairs.repair(line, body)
        return strict_json.write(record) if isinstance(record, dict) else answer

    def _with_facts(self, example: Example, values: Mapping[str, Any]) -> Example:
        for column in self._about.values():
            if column not in values:
                raise Unusable(_missing(column, list(values)))
        facts = {name: values[column] for name, column in self._about.items()}
        return replace(
            example,
            key=written(facts.get("id")).strip(),
            group=written(facts.get("group")).strip(),
            time=value.moment(facts.get("time"), self._times.order if self._times else None),
            weight=value.weight(facts.get("weight"), self._weights.decimal if self._weights else None),
        )

    def _conversation(self, values: Mapping[str, Any]) -> Conversation:
        layout = self._layout(values.keys())
        if layout is not None:
            return layout(values, self._every_turn, self.asked)
        for column in (*self._prompt.columns, *([] if self.asked else self._answer_columns())):
            if column not in values:
                raise Unusable(_missing(column, list(values)))
        answer = None if self.asked else self._answer_text(values)
        only_column = self._prompt.only_column
        if only_column is not None and row.is_conversation(values[only_column]):
            pair = {"prompt": values[only_column], "completion": answer}
            return row.completion(pair, self._every_turn, self.asked)
        return (Turn("user", self._prompt.fill(values)),), answer or ""

    def _answer_text(self, values: Mapping[str, Any]) -> str:
        if isinstance(self._answer, str):
            return written(values[self._answer])
        if self._label is not None:
            return value.labels(values[self._label.column], self._label)
        record = {
            name: value.field(name, values[field.column], field) for name, field in self._answer.items()
        }
        return "" if all(part is None for part in record.values()) else strict_json.write(record)


def _label_field(recipe: Recipe) -> RecordField | None:
    """The field that holds the label, where labels are declared as a field is; None if the answer is none.

    Raises:
        SettingError: a label has several fields, or is a number; or something else has levels or an order.
    """
    if isinstance(recipe.answer, str):
        return None
    fields = list(recipe.answer.values())
    if recipe.task != "labels":
        if any(field.levels is not None or field.order is not None for field in fields):
            raise SettingError(
                "Only labels have levels or an order.",
                "Set task: labels (--task labels), or leave levels and order out.",
            )
        return None
    if len(fields) != 1 or fields[0].type not in (None, "string"):
        raise SettingError(
            f"The answers are to be labels, but --answer makes records of {len(recipe.answer):,} fields.",
            "Name one column of text, or leave --task out.",
        )
    return fields[0]


def _fact_columns(recipe: Recipe) -> dict[str, str]:
    """The columns of facts about a row, by what they say."""
    columns = {name: getattr(recipe, name) for name in ("id", "group", "time", "weight")}
    return {name: column for name, column in columns.items() if column is not None}


def _field_styles(recipe: Recipe) -> dict[str, Style]:
    styles: dict[str, Style] = {}
    for name, field in recipe.answer.items() if not isinstance(recipe.answer, str) else ():
        title = f"the field “{name}”"
        if field.type in ("number", "integer"):
            styles[name] = NumberStyle(title, field.column, field.decimal or recipe.decimal)
        elif field.type == "boolean":
            styles[name] = BooleanStyle(title, field.column, field.empty)
    return styles


def _missing(column: str, columns: Sequence[str]) -> str:
    return f"has no column “{column}”; it has {quoted(columns)}"


def _check_texts(example: Example, *, asked: bool = False) -> None:
    if not example.turns[-1].content.strip():
        raise Unusable(NO_PROMPT)
    if not example.answer and not asked:
        raise Unusable(NO_ANSWER)
    texts = [turn.content for turn in example.turns]
    text = "".join([*texts, example.answer, example.key, example.group])
    if len(text) > LONGEST_ROW:
        raise Unusable(f"has {len(text):,} characters, more than {LONGEST_ROW:,}")
    if "\0" in text:
        raise Unusable("holds a NUL character, which no text has")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise Unusable(f"\\u{code:04x} is half a character (a lone surrogate)") from None


_TEMPLATE_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class PromptTemplate:
    """Text with columns in braces; without braces, it is the name of one column."""

    def __init__(self, text: str) -> None:
        """Take the text apart.

        Raises:
            SettingError: a brace stands alone, or no column is named.
        """
        self._parts: list[tuple[str, bool]] = []
        """Texts, and whether each is the name of a column."""
        for match in _TEMPLATE_PART.finditer(text):
            if match[0] in ("{", "}"):
                raise SettingError(
                    f"The prompt {text!r} has a brace without its partner.",
                    "Write {column} for a column, and {{ or }} for a brace.",
                )
            is_column = match[1] is not None
            part = match[1] if is_column else match[0]
            self._parts.append(({"{{": "{", "}}": "}"}.get(part, part), is_column))
        if "{" not in text and "}" not in text:
            self._parts = [(text, True)]
        self.columns = tuple(dict.fromkeys(part for part, is_column in self._parts if is_column))
        """The columns that it names, each once."""
        self.only_column = self.columns[0] if len(self._parts) == 1 and self.columns else None
        """The one column that it is, with nothing around it; None if it is more."""
        if not self.columns:
            raise SettingError(
                f"The prompt {text!r} names no column: every example would ask the same.",
                "Write the name of a column in braces, such as {body}.",
            )

    def fill(self, values: Mapping[str, Any]) -> str:
        """Put a row's values in; nothing if all of them are empty.

        Raises:
            Unusable: a value has no text.
        """
        filled = {column: written(values[column]) for column in self.columns}
        if self.only_column is not None:
            return filled[self.only_column]
        if not any(text.strip() for text in filled.values()):
            return ""
        return "".join(filled[part] if is_column else part for part, is_column in self._parts)
