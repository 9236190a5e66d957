"""A flag for every field of the recipe, made from the model itself, so that nothing is declared twice.

Flags carry text; the model turns text into values and judges it. Knows nothing of files.
"""

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from azubi.settings import Recipe

_WORDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", bool: "true|false"}


def flag(name: str) -> str:
    """Name the flag of a field: `tail_layers` is set by `--tail-layers`."""
    return "--" + name.replace("_", "-")


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


def with_recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, which takes **flags, one parameter per field of the recipe."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *_parameters()])  # type: ignore[attr-defined]
    return command


def _parameters() -> list[inspect.Parameter]:
    return [_parameter(name, field) for name, field in Recipe.model_fields.items()]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    if bool in get_args(field.annotation):
        names = f"{flag(name)}/{flag('no_' + name)}"
        switch = typer.Option(names, help=_help(field), show_default=False)
        annotation: Any = Annotated[bool | None, switch]
    else:
        option = typer.Option(flag(name), metavar=accepts(field), help=_help(field), show_default=False)
        annotation = Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(field: FieldInfo) -> str:
    text = field.description or ""
    return text if field.default is None else f"{text} [default: {field.default}]"
