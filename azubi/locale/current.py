"""Which language holds in this process, and texts in it.

    --lang, else AZUBI_LANG, else LC_ALL, LC_MESSAGES, LANG as everywhere, else English

The choice is one per process, not per thread: the terminal is redrawn by a thread of its own. Whoever calls
azubi as a library has English unless `using` says otherwise.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from azubi.errors import SettingError
from azubi.locale.locale import LANGUAGES, Lang, Locale
from azubi.locale.sentences import translation

_OWN_NAMES: dict[Lang, str] = {"en": "English", "de": "Deutsch"}
_SYSTEM = ("LC_ALL", "LC_MESSAGES", "LANG")
"""In the order in which POSIX lets them decide: the first that is set."""
_language: Lang = "en"


def chosen(arguments: Sequence[str], environment: Mapping[str, str]) -> Lang:
    """The language that the command line or the environment asks for.

    Raises:
        SettingError: --lang or AZUBI_LANG names one that is not here. What the system is set to may be any.
    """
    if (flag := _flag(arguments)) is not None:
        return _named("--lang", flag)
    if own := environment.get("AZUBI_LANG"):
        return _named("AZUBI_LANG", own)
    return of_system(environment)


def of_system(environment: Mapping[str, str]) -> Lang:
    """The language that the system is set to; English if it is not here."""
    system = next((value for name in _SYSTEM if (value := environment.get(name))), "")
    return _known(system) or "en"


def _flag(arguments: Sequence[str]) -> str | None:
    """What stands behind --lang; read before anything else, since errors and help need it, too."""
    given = None
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith("--lang="):
            given = argument.removeprefix("--lang=")
        elif argument == "--lang" and place + 1 < len(arguments):
            given = arguments[place + 1]
    return given


def _named(where: str, value: str) -> Lang:
    if (lang := _known(value)) is not None:
        return lang
    languages = ", ".join(f"{lang} ({name})" for lang, name in _OWN_NAMES.items())
    raise SettingError(f"{where} is “{value}”, a language that azubi does not speak.", f"It has {languages}.")


def _known(value: str) -> Lang | None:
    """de of de, de_AT.UTF-8, de-CH."""
    code = re.split(r"[_.@-]", value.strip().lower())[0]
    return next((lang for lang in LANGUAGES if lang == code), None)


@contextmanager
def using(lang: Lang) -> Iterator[None]:
    """Let this language hold."""
    global _language
    before, _language = _language, lang
    try:
        yield
    finally:
        _language = before


def current() -> Locale:
    """The locale of the language that holds."""
    return Locale(_language)


def translated(text: str) -> str:
    """An English text, its values in it, in the language that holds; as it is where no catalogue has it."""
    return translation(_language, text)
