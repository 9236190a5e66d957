"""Settings in: a recipe file, the flags over it, and what is wrong with them in plain words.

Paths in a recipe file count from the file's own folder; paths in flags from where the command is run.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from azubi.cli.flags import accepts, fields, flag, grouped, parameter_name
from azubi.cli.formatting import as_json
from azubi.errors import SettingError, UsageError
from azubi.settings import DatabaseUrl, ProofSettings, Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
    prime, base = settings.get("instruction"), settings.get("base")
    if isinstance(prime, str) and prime.startswith("@"):
        settings["instruction"] = f"@{folder / Path(prime[1:]).expanduser()}"
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


_MOVED = {own: f"Write `split: {{{own}: …}}`." for own in ("test",)}
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
