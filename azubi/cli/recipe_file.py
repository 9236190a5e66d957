"""Settings in: a recipe file, the flags over it, and what is wrong with them in plain words.

Paths in a recipe file count from the file's own folder; paths in flags from where the command is run.
"""

import inspect
import keyword
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ByteSize, ValidationError
from pydantic.fields import FieldInfo

from azubi.cli.formatting import as_json
from azubi.errors import SettingError, UsageError
from azubi.settings import DatabaseUrl, ProofSettings, Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_WORDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", bool: "true|false", ByteSize: "SIZE"}

Names = tuple[str, ...]
"""The names that lead to a field: one, or its group's and its own."""


def fields(model: type[BaseModel] = Recipe, within: Names = ()) -> Iterator[tuple[Names, FieldInfo]]:
    """Every field that has a flag, with the names that lead to it."""
    for attribute, field in model.model_fields.items():
        name, kind = field.alias or attribute, field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, (*within, name))
        else:
            yield (*within, name), field


def grouped(given: Mapping[str, str | bool]) -> dict[str, Any]:
    """What flags gave, by the names of their parameters, as the model takes it: groups as mappings."""
    settings: dict[str, Any] = {}
    for path, _ in fields():
        if (value := given.get(parameter_name(path))) is not None:
            place = settings
            for name in path[:-1]:
                place = place.setdefault(name, {})
            place[path[-1]] = value
    return settings


def parameter_name(names: Names) -> str:
    """What a command calls the value of the field to which `names` lead."""
    name = "_".join(names)
    return f"{name}_" if keyword.iskeyword(name) else name


def flag(name: str) -> str:
    """Name the flag of a parameter: `tail_layers` is set by `--tail-layers`, `from_` by `--from`."""
    return "--" + name.rstrip("_").replace("_", "-")


def accepts(field: FieldInfo) -> str:
    """Say what a field takes: TEXT, INTEGER|all|auto, …"""
    return "|".join(dict.fromkeys(_accepted(field.annotation)))


def _accepted(annotation: Any) -> list[str]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _accepted(get_args(annotation)[0])
    if origin is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if origin in (Union, types.UnionType):
        return [word for part in get_args(annotation) if part is not type(None) for word in _accepted(part)]
    return [_WORDS.get(annotation, "TEXT")]


def with_recipe_flags(command: Callable[..., None], only: Collection[str] = ()) -> Callable[..., None]:
    """Give `command`, which takes **flags, one parameter per field of the recipe.

    With `only`, for fields and groups of these names, which have other defaults then.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    wanted = ((path, field) for path, field in fields() if not only or path[0] in only)
    more = [_parameter(parameter_name(path), field, with_default=not only) for path, field in wanted]
    command.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return command


def _parameter(name: str, field: FieldInfo, *, with_default: bool) -> inspect.Parameter:
    text = _help(field) if with_default else field.description
    if bool in (field.annotation, *get_args(field.annotation)):
        names = f"{flag(name)}/{flag('no_' + name)}"
        switch = typer.Option(names, help=text, show_default=False)
        annotation: Any = Annotated[bool | None, switch]
    else:
        option = typer.Option(flag(name), metavar=accepts(field), help=text, show_default=False)
        annotation = Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(field: FieldInfo) -> str:
    text = field.description or ""
    default = None if field.default_factory is not None else field.default
    if isinstance(default, ByteSize):
        default = default.human_readable(decimal=True, separator=" ").replace(".0 ", " ")
    return text if default is None else f"{text} [default: {default}]"


RECIPE_SUFFIXES = (".yaml", ".yml")


def recipe_from(source: Path | None, given: Mapping[str, str | bool]) -> Recipe:
    """Make the recipe of a run from its source, a data file or a recipe file, and the flags given.

    The source may be left out if the flags name a database (or data).
    """
    if source is None and not {"data", "sql"} & given.keys():
        raise UsageError("SOURCE is missing: there are no examples.", "Name a file, or use --sql.")
    if source is None:
        return validated(grouped(given), frozenset(given), Path("the command"))
    if source.suffix.lower() in RECIPE_SUFFIXES:
        settings: dict[str, Any] = read_recipe(source)
    elif "data" in given:
        raise SettingError(
            f"The data was named twice: {source} and --data {given['data']}.", "Leave one of them out."
        )
    else:
        settings = {"data": source}
    return validated(_over(settings, grouped(given)), frozenset(given), source)


def proof_from(source: Path) -> ProofSettings:
    """What a recipe file has under `proof`, and the defaults for the rest of it.

    Raises:
        SettingError: there is no such file, it has no `proof`, or that is not valid.
    """
    settings = read_recipe(source)
    if "proof" not in settings:
        raise SettingError(
            f"{source} has no `proof`.", "Write `proof: {min_accuracy: 0.9}` with what shall hold."
        )
    return _checked({"proof": settings["proof"]}, frozenset(), source).proof


def _over(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those given over them; of a group, only what was given."""
    merged = dict(settings)
    for name, value in given.items():
        below = merged.get(name)
        merged[name] = (
            _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe file; only its form is judged here."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingError(f"There is no recipe {path}.", "Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not YAML: {_place(error)}.", "Correct that place.") from None
    if not isinstance(content or {}, dict):
        raise SettingError(f"{path} holds no settings.", "Write one `name: value` per line.")
    return _from_folder({str(key): value for key, value in (content or {}).items()}, path.parent)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return f"{what} in line {mark.line + 1}, column {mark.column + 1}" if mark else what


def _from_folder(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let the paths in a recipe file count from its folder."""
    paths = ("data", "test_data", "validation_data", "answers", "schema", "names", "personal_key")
    for name in paths:
        if isinstance(settings.get(name), str) and settings[name] != "-":
            settings[name] = folder / Path(settings[name]).expanduser()
    if isinstance(sql := settings.get("sql"), str):
        settings["sql"] = DatabaseUrl(sql).from_folder(folder) if "://" in sql else sql
    instruction, base = settings.get("instruction"), settings.get("base")
    if isinstance(instruction, str) and instruction.startswith("@"):
        settings["instruction"] = f"@{folder / Path(instruction[1:]).expanduser()}"
    if isinstance(base, str) and base.startswith("."):
        settings["base"] = str(folder / base)
    return settings


def validated(settings: Mapping[str, Any], from_flags: frozenset[str], source: Path) -> Recipe:
    """Check the settings against the model.

    Raises:
        SettingError: names the value, why it cannot be, and what can.
    """
    recipe = _checked(settings, from_flags, source)
    if recipe.data is None and recipe.sql is None:
        raise SettingError(f"{source} names no data.", "Add `data: FILE` to it, or give --data FILE.")
    return recipe


def _checked(settings: Mapping[str, Any], from_flags: frozenset[str], source: Path) -> Recipe:
    try:
        return Recipe.model_validate(dict(settings))
    except ValidationError as error:
        raise _in_words(error, from_flags, source) from None


def _in_words(error: ValidationError, from_flags: frozenset[str], source: Path) -> SettingError:
    first = error.errors()[0]
    known = dict(fields())
    if first["type"] == "extra_forbidden":
        return _unknown([*map(str, first["loc"])], source)
    names = next((names for names in known if first["loc"][: len(names)] == names), None)
    if names is None:  # a group that is no mapping
        return _no_group(str(first["loc"][0]), first["input"], source)
    field, name = known[names], ".".join(names)
    given = parameter_name(names)
    where = flag(given) if given in from_flags else f"`{name}` in {source}"
    details = [detail for detail in error.errors() if detail["loc"][: len(names)] == names]
    # Of several alternatives, the one that broke a bound is the one that was meant.
    bound = next((detail for detail in details if detail["type"] in _BOUNDS), None)
    alternatives = len(details) > 1 and bound is None
    cause = f"is not one of {accepts(field)}" if alternatives else _cause(bound or first)
    value = "what was given" if names == ("sql",) else as_json(first["input"])  # it may hold a password
    problem = f"{where} cannot be {value}: it {cause}."
    return SettingError(problem, f"It takes {accepts(field)}. {field.description or ''}".strip())


def _unknown(names: Sequence[str], source: Path) -> SettingError:
    *group, own = names
    if not group and own in _MOVED:
        return SettingError(f"{source} has the setting `{own}`, which is now one of `split`.", _MOVED[own])
    siblings = [known[len(group)] for known, _ in fields() if [*known[: len(group)]] == group]
    near = get_close_matches(own, siblings, n=1, cutoff=0.5)
    remedy = f"Did you mean `{'.'.join([*group, near[0]])}`?" if near else _SEE
    return SettingError(f"{source} has the setting `{'.'.join(names)}`, which does not exist.", remedy)


def _no_group(name: str, value: Any, source: Path) -> SettingError:
    own = [names[-1] for names, _ in fields() if names[0] == name]
    problem = f"`{name}` in {source} cannot be {as_json(value)}: it is a group of settings."
    return SettingError(problem, f"Write `{name}: {{{own[0]}: …}}`. It has {', '.join(own)}.")


_MOVED = {"test": "Write `split: {test: …}`."}
_SEE = "See `azubi tune --help` for all settings."
_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def _cause(detail: "ErrorDetails") -> str:
    """Complete the sentence "it …" from what pydantic found."""
    context = detail.get("ctx", {})
    message = detail["msg"]
    causes = {
        "greater_than": f"must be above {context.get('gt')}",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than": f"must be below {context.get('lt')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "record": f"is {detail['msg']}",
        "database": f"is {detail['msg']}",
        "duration": "is not a time such as 20m, 1h30m or 90s",
        "moment": "is not a date such as 2025-03-01 or 2025-03-01T12:00",
        "bool_parsing": "is neither true nor false",
        "literal_error": f"must be {context.get('expected')}",
        "string_pattern_mismatch": "does not follow the rules for names",
        "int_parsing": "is not a whole number",
        "int_from_float": "is not a whole number",
        "float_parsing": "is not a number",
        "string_type": "is not text (put it in quotes)",
        "rules": "is not FIELD=RULE, one a line",
        "dict_type": "is not FIELD: RULE",
        "byte_size": "is not a size",
        "byte_size_unit": "is not a size in bytes, KB, MB, GB or TB",
    }
    return causes.get(detail["type"], f"is not valid ({message[:1].lower()}{message[1:]})")
