"""The English texts in the code, as the German catalogue has them: f-strings as templates with named gaps.

    python -m tests.locale.messages

prints those that the catalogue lacks. A gap is named by what fills it: `{path}`, `{error.strerror}` is
{strerror}, `{some(n, "row")}` {rows}, `{', '.join(names)}` {names}. Two side by side are one.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, nodes
from typer.main import get_command

import azubi
from azubi.cli.app import app
from azubi.locale.locale import catalogue

PACKAGE = Path(azubi.__file__).parent
ERRORS = (
    r"(?!Assertion|Type|Key)\w*Error|Unknown\w+|Refused|CorruptFile|DiskFull|MemoryShortage"
    r"|Unusable|NotJson|NotComputable|Stopped"
)
SHOWN = re.compile(
    rf"{ERRORS}|translated|Notice|StageSummed|Progress|BaselineMeasured|Finding|Issue|Rejected|Case|handle|progress"
)
"""Calls whose texts a person reads."""
SENTENCE = re.compile(r"(?:[A-ZÄÖÜ{“`]|\W*[a-z]+ ).* .*[.?!…:]", re.DOTALL)
NO_TEXT = {"kind", "level", "stage", "who", "unit_of"}
"""Arguments of such calls that are names."""


def gap(value: ast.expr) -> str:
    """What a gap is called, by what fills it."""
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(func=ast.Name(id="some"), args=[_, ast.Constant(), *_]):
            return re.sub(r"\W+", "_", plural(value))
        case ast.Call(func=ast.Attribute(attr="join" | "count" | "size" | "duration"), args=[inner, *_]):
            return gap(inner)
        case ast.Call(func=ast.Name(), args=[inner, *_]):
            return gap(inner)
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            return gap(inner)
        case ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner) | ast.IfExp(orelse=inner):
            return gap(inner)
        case ast.BinOp(left=left, right=right):
            return gap(right) if isinstance(left, ast.Constant) else gap(left)
        case ast.JoinedStr(values=parts):
            return next((gap(part.value) for part in parts if isinstance(part, ast.FormattedValue)), "text")
    return "value"


def plural(call: ast.Call) -> str:
    """The noun of `some(n, "row")` for many."""
    nouns = [argument.value for argument in call.args[1:] if isinstance(argument, ast.Constant)]
    return nouns[1] if len(nouns) > 1 else f"{nouns[0]}s"


def template(text: ast.expr) -> str | None:
    """A text as the catalogue has it; None for what is no text."""
    if isinstance(text, ast.Constant):
        # A heading of a table begins with > if it stands on the right.
        return _escaped(text.value).strip().lstrip(">") if isinstance(text.value, str) else None
    if not isinstance(text, ast.JoinedStr):
        return None
    written, sources = "", {}
    for part in text.values:
        if isinstance(part, ast.Constant):
            written += _escaped(part.value)
        elif isinstance(part, ast.FormattedValue) and not written.endswith("\0"):
            name, number = gap(part.value) or "value", 2
            while sources.setdefault(name, ast.unparse(part.value)) != ast.unparse(part.value):
                name, number = f"{name.rstrip('0123456789')}{number}", number + 1
            written += f"{{{name}}}\0"
    return written.replace("\0", "").strip()


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _texts(node: ast.AST) -> Iterator[ast.expr]:
    """All texts below a node; those in the gaps of others, too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        if isinstance(child, ast.JoinedStr):
            yield child
            for part in child.values:
                if isinstance(part, ast.FormattedValue):
                    yield from _texts(part)
        elif isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child
        else:
            yield from _texts(child)


def _shown(call: ast.Call) -> Iterator[ast.expr]:
    """The texts that a call shows: its arguments, also behind a condition."""
    waiting = [*call.args, *(word.value for word in call.keywords if word.arg not in NO_TEXT)]
    while waiting:
        match waiting.pop():
            case ast.IfExp(body=body, orelse=other):
                waiting += [body, other]
            case ast.BinOp(left=left, right=right):
                waiting += [left, right]
            case ast.JoinedStr(values=parts) as text:
                yield text
                waiting += [part.value for part in parts if isinstance(part, ast.FormattedValue)]
            case ast.Constant(value=str()) as text:
                yield text


def _nouns(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="some"), args=[_, ast.Constant(value=str(noun)), *_]):
                yield from (f"1 {noun}", f"{{n}} {plural(node)}")


@cache
def _modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def _worded(text: str | None) -> bool:
    return text is not None and re.search(r"[A-Za-z]{2}", re.sub(r"\{\w+\}", "", text)) is not None


def written() -> set[str]:
    """Every text in the code."""
    texts = {text for tree in _modules().values() for node in _texts(tree) if (text := template(node))}
    return (
        texts | {noun for tree in _modules().values() for noun in _nouns(tree)} | help_texts() | page_texts()
    )


def shown() -> dict[str, str]:
    """The texts that a person reads, each with a place where it stands."""
    places: dict[str, str] = {}
    for path, tree in _modules().items():
        if path.match("export/papers.py"):  # files that go along with an export, for engineers
            continue
        if path.parent.name == "serve" and path.name not in ("keys.py", "server.py"):  # read by programs
            continue
        place = str(path.relative_to(PACKAGE))
        for noun in _nouns(tree):
            places.setdefault(noun, place)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and SHOWN.fullmatch(ast.unparse(node.func).split(".")[-1]):
                for text in _shown(node):
                    if _worded(written := template(text)):
                        places.setdefault(written, f"{place}:{text.lineno}")
        for text in _texts(tree):
            written = template(text)
            if _worded(written) and SENTENCE.fullmatch(written):
                places.setdefault(written, f"{place}:{text.lineno}")
    return places | dict.fromkeys(help_texts(), "help") | dict.fromkeys(page_texts(), "page")


@cache
def help_texts() -> set[str]:
    """What --help says of commands and options."""

    def of(command: object) -> Iterator[str]:
        for paragraph in (getattr(command, "help", None) or "").split("\n\n"):
            yield _escaped(" ".join(paragraph.split()))
        for parameter in getattr(command, "params", ()):
            yield _escaped(" ".join((getattr(parameter, "help", None) or "").split()))
        for own in getattr(command, "commands", {}).values():
            yield from of(own)

    texts = {re.sub(r" \[default: .*\]$", "", text) for text in of(get_command(app))}
    return {text for text in texts if text}


def page_texts() -> set[str]:
    """What the page of a check says itself."""

    def of(node: nodes.Node) -> str:
        match node:
            case nodes.Const(value=value):
                return str(value)
            case nodes.Concat(nodes=parts):
                return "".join(map(of, parts))
            case nodes.Call(node=nodes.Name(), args=[inner, *_]) | nodes.Filter(node=inner):
                return of(inner)
            case nodes.Getattr(attr=name) | nodes.Name(name=name):
                return f"{{{name}}}"
            case nodes.Sub():
                return "{count}"
        return "{value}"

    texts = set()
    for path in PACKAGE.rglob("check.html.jinja"):
        for call in Environment().parse(path.read_text("utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "t":
                texts.add(of(call.args[0]))
    return {text for text in texts if _worded(text)}


def translations() -> dict[str, str]:
    """The German sentences by their English ones."""
    keys = {message.id for message in catalogue("en") if message.id != message.string}
    return {
        m.id: str(m.string) for m in catalogue("de") if m.id and isinstance(m.id, str) and m.id not in keys
    }


def quoted(text: str) -> str:
    """A text as a catalogue has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


if __name__ == "__main__":
    known = translations()
    for text, place in sorted(shown().items(), key=lambda item: item[1]):
        if text not in known:
            print(f'#: {place}\nmsgid {quoted(text)}\nmsgstr ""\n')
