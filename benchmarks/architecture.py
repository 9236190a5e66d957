"""The figures of the package's structure: rooms, imports, sizes, words.

    python benchmarks/architecture.py            all figures, each beside its limit
    python benchmarks/architecture.py --words    and every place of a word that is left out of names

Reads the source alone. Exits with 1 if a figure is beyond its limit.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "azubi"
WORDS = {"told", "one", "found", "held", "form", "look"}
"""Names of variables that say nothing about what they hold."""


@dataclass(frozen=True)
class Figure:
    """One measured number and its limit."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        return (
            f"{'ok ' if self.met else 'NO '} {self.name:58} {self.value:>9,.6g}   ({bound} {self.limit:,.6g})"
        )


@dataclass(frozen=True)
class Source:
    """A Python file of the package, parsed."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """Lines of the file, comments and empty ones included."""
        return self.text.count("\n")

    @property
    def room(self) -> str:
        """The entry at the top of the package."""
        return self.path.relative_to(PACKAGE).parts[0]


def sources(folder: Path) -> list[Source]:
    """Every Python file below a folder."""
    return [
        Source(path, text := path.read_text(encoding="utf-8"), ast.parse(text))
        for path in sorted(folder.rglob("*.py"))
    ]


def figures() -> Iterator[Figure]:
    """All figures, in the order of the design page."""
    files, tests = sources(PACKAGE), sources(ROOT / "tests")
    yield from _rooms()
    yield Figure("lines of the package", sum(file.lines for file in files), 27_000)
    yield Figure("files of the package", len(files), 180)
    yield Figure("lines of engine/", sum(file.lines for file in files if file.room == "engine"), 5_500)
    yield Figure("lines of the longest file", max(file.lines for file in files), 500)
    yield Figure("files of at most 25 lines that one file imports", len(_slips(files)), 0)
    lengths = [length for file in files for length in _functions(file.tree)]
    yield Figure(
        "% of functions within 40 lines", 100 * sum(n <= 40 for n in lengths) / len(lengths), 99, True
    )
    yield Figure("names of variables that say nothing", sum(_words(files).values()), 0)
    yield Figure("lines of the longest test file", max(file.lines for file in tests), 500)
    yield Figure("settings", _settings(), 60)


def _rooms() -> Iterator[Figure]:
    entries = [path for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")]
    yield Figure("entries at the top of azubi/", len(entries), 16)
    graph = grimp.build_graph("azubi", cache_dir=None)
    arrows = Counter(
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if importer.count(".") and imported.count(".")
    )
    yield Figure("arrows between rooms", sum(a != b for a, b in arrows), 60)
    yield Figure(
        "pairs of rooms that import each other", sum((b, a) in arrows for a, b in arrows if a < b), 0
    )
    yield Figure("modules in import cycles", len(_cyclic(graph)), 0)


def _cyclic(graph: grimp.ImportGraph) -> list[str]:
    """Modules that import themselves by way of others, packages' `__init__` included."""

    def imports_itself(module: str) -> bool:
        seen: set[str] = set()
        ahead = [*graph.find_modules_directly_imported_by(module)]
        while ahead:
            imported = ahead.pop()
            if imported not in seen:
                seen.add(imported)
                ahead.extend(graph.find_modules_directly_imported_by(imported))
        return module in seen

    return [module for module in sorted(graph.modules) if imports_itself(module)]


def _slips(files: list[Source]) -> list[Path]:
    """Files of a handful of lines that only one other file imports."""
    graph = grimp.build_graph("azubi", cache_dir=None)
    short = [
        file for file in files if file.lines <= 25 and file.path.name not in ("__init__.py", "__main__.py")
    ]
    return [
        file.path for file in short if len(graph.find_modules_that_directly_import(_module(file.path))) <= 1
    ]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _functions(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What is bound anywhere: variables, parameters, functions, classes, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def _words(files: list[Source], places: list[str] | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in files:
        for name, line in _names(file.tree):
            if name.strip("_").lower() in WORDS:
                counts[name] += 1
                if places is not None:
                    places.append(f"{file.path.relative_to(ROOT)}:{line}: {name}")
    return counts


def _settings() -> int:
    from pydantic import BaseModel

    from azubi.settings import Recipe

    def count(model: type[BaseModel]) -> int:
        total = 0
        for field in model.model_fields.values():
            parts = [field.annotation, *getattr(field.annotation, "__args__", ())]
            nested = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
            own = [part for part in nested if part.__name__.endswith("Settings")]
            total += sum(map(count, own)) if own else 1
        return total

    return count(Recipe)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="The figures of the package's structure.")
    parser.add_argument("--words", action="store_true", help="name every place of a name that says nothing")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    measured = list(figures())
    print(*measured, sep="\n")
    lines = Counter[str]()
    count = Counter[str]()
    for file in sources(PACKAGE):
        lines[file.room] += file.lines
        count[file.room] += 1
    print("\nroom            lines  files")
    for room, total in lines.most_common():
        print(f"{room:14} {total:6,} {count[room]:6}")
    if given.words:
        places: list[str] = []
        _words(sources(PACKAGE), places)
        print("", *places, sep="\n")
    return 0 if all(figure.met for figure in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
