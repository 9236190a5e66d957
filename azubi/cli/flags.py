"""A flag for every field of the recipe, made from the model itself, so that nothing is declared twice.

A field of a group (`cache: {quota: …}`) has both names in its flag: `--cache-quota`. Flags carry text, and
of what is true or false there are two (`--repair`, `--no-repair`); the model turns text into
values and judges it. Knows nothing of files.
"""

import inspect
import keyword
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from azubi.settings import Recipe

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
