"""Detectors of personal data: a pattern, a validity check, and words that must stand near.

Check digits are proof enough (IBAN, card, Steuer-ID, social insurance number). Kinds without check digits
(national phone numbers, Steuernummer, identity card, plates) look like many other numbers: there a word near
by has to name the kind, unless the number is written in a way that nothing else is. A policy's number has no
form of its own: its name has to stand right before it. All patterns are bounded, so that no text makes them
slow.
"""

import re
from collections.abc import Callable, Iterator

import phonenumbers

from azubi.data.pii import addresses, kinds
from azubi.data.pii.kinds import Span, canonical, compact, iban_length, phone_number

_REACH = 48
"""Characters before a number (and half as many behind) in which a word that names its kind is looked for."""
_GAP = r"[ \-./]?"


def _words(anywhere: str, beginning: str) -> re.Pattern[str]:
    """Stems of words, some also inside other words (Dienstwagen), some only where a word begins."""
    return re.compile(
        rf"{'|'.join(anywhere.split())}|(?<![a-zäöüß])(?:{'|'.join(beginning.split())})", re.IGNORECASE
    )


_PHONE_WORDS = _words(
    "telefon phone mobil handy durchwahl hotline whatsapp erreich rückruf festnetz kontakt anruf rufnummer",
    r"tel fon fax ruf call cell sms dial reach ring contact",
)
_TAX_WORDS = _words(
    r"steuer[\s-]?n steuer[\s-]?# finanzamt tax\s?(?:no|num|ref|office|#) steuerlich",
    r"st\.?[\s-]?nr stnr",
)
_TAX_ID_WORDS = _words(r"steuer-?\s?id identifikation tax\s?id", r"st\.?-?\s?id id-?\s?nr")
_ID_WORDS = _words(
    r"ausweis personalausw\b identity passport reisepass dokumentennummer document\s(?:no|number) "
    r"legitimation",
    r"perso\b id[\s-]?card pass[\s-]?n pass\b id[\s-]?n[or]",
)
_PLATE_WORDS = _words(
    "kennzeichen fahrzeug wagen motorrad plate registration vehicle licen[cs]e nummernschild zugelassen "
    "anhänger falschpark transporter registered gegner wohnmobil",
    r"kfz pkw lkw auto halter car\b van\b truck amtl fahrer driver parkt parked "
    r"vw\b bmw\b audi\b mercedes opel\b golf\b škoda skoda",
)
_OTHER_WORDS = re.compile(
    r"(?:auftrag|bestell|rechnung|beleg|kunde|vertrag|schaden|vorgang|ticket|referenz|artikel|aktenzeichen|"
    r"az\b|order|invoice|claim|ref\b|reference|policy|police|contract|customer|item|sendung|tracking|serie|"
    r"serial|version|build|mandat|charge|batch|losn|inventar|projekt|project|gläubiger|beitrag|transaktion|"
    r"transaction|lieferschein|delivery|isbn|ean\b|gtin|zähler|meter|kostenstelle|personalnummer|"
    r"employee|konto|account|modell?\b|section|"
    r"abschnitt|regal|shelf|typ|form|tarif|lo[st]\b|fach|halle|raum|buchung|booking|reserv|gesch|paragra|zimmer|room)"
    r"[\w.-]{0,16}(?:[ -](?:id|no|nr|num|code|number|nummer|lautet|is|ist)\b)*[.:#\s]*"
    r"(?:[a-zäöü]{2,4}[ -])?\Z",
    re.IGNORECASE,
)
"""Right before a number: what it is called if it is no personal one."""


def _is_named(text: str, start: int, end: int, words: re.Pattern[str]) -> bool:
    before = text[max(0, start - _REACH) : start]
    return bool(words.search(before) or words.search(text, end, min(len(text), end + _REACH // 2)))


def _is_named_otherwise(text: str, start: int) -> bool:
    return bool(_OTHER_WORDS.search(text[max(0, start - _REACH) : start]))


# E-mail

_EMAIL = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w!#$%&'*+/=?^`{|}~-][\w.!#$%&'*+/=?^`{|}~-]{0,63}"
    r"(?:@|\s?[(\[{]\s?(?:at|ät)\s?[)\]}]\s?)"
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})(?![\w@-])",
    re.IGNORECASE,
)
_EMAIL_LEAD = re.compile(r"(?:mailto:|e-?mail[:=])(?=.)", re.IGNORECASE)


def _emails(text: str) -> Iterator[Span]:
    if not any(character in text for character in "@([{"):
        return
    for match in _EMAIL.finditer(text):
        start, end = match.span()
        if lead := _EMAIL_LEAD.match(text, start, end):
            start = lead.end()
        while start < end and text[start] in "'`{|=/*":  # quotes and their like around it
            start += 1
        if canonical(kinds.EMAIL, text[start:end]):
            yield Span(kinds.EMAIL, start, end)


# IBAN

_IBAN = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}{_GAP}\d{{2}}(?={_GAP}[A-Za-z0-9])")


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        start, length = match.start(), iban_length(match[0][:2].upper())
        if not length:
            continue
        number = re.compile(rf"(?:[A-Za-z0-9][ \-./\n]?){{{length - 1}}}[A-Za-z0-9]").match(text, start)
        if (
            number
            and not text[number.end() : number.end() + 1].isalnum()
            and canonical(kinds.IBAN, number[0])
        ):
            yield Span(kinds.IBAN, *number.span())


# Card, Steuer-ID, social insurance number: check digits are enough

_CARD = re.compile(
    r"(?<![\w.,/+-])(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5})"
    r"(?![\w]|[.,-]\d)"
)
_TAX_ID = re.compile(r"(?<![\w.,/+-])[1-9]\d(?:\d{9}|([ .-])\d{3}\1\d{3}\1\d{3})(?![\w]|[.,/-]\d)")
_TAX_ID_GROUPED = re.compile(r"(?<![\w.,/+-])[1-9](?:[ ./-]?\d){10}(?![\w]|[.,/-]\d)")
"""In groups of any size, which takes a word beside it."""
_SOCIAL = re.compile(
    rf"(?<![\w.,/+-])\d{{2}}{_GAP}(?:\d{{2}}{_GAP}){{3}}[A-Za-z]{_GAP}\d{{2}}{_GAP}\d(?![\w]|[.,/-]\d)"
)


def _valid_matches(kind: str, pattern: re.Pattern[str]) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            if canonical(kind, match[0]):
                yield Span(kind, *match.span())

    return find


def _tax_ids(text: str) -> Iterator[Span]:
    yield from _valid_matches(kinds.TAX_ID, _TAX_ID)(text)
    for match in _TAX_ID_GROUPED.finditer(text):
        if canonical(kinds.TAX_ID, match[0]) and _is_named(text, *match.span(), _TAX_ID_WORDS):
            yield Span(kinds.TAX_ID, *match.span())


# Steuernummer

_TAX_NUMBER = re.compile(
    r"(?<![\w.,/+-])(?:\d{2,3}([/ ])\d{3,4}\1\d{4,5}|\d{3}/\d{4}\.\d{4}|\d{10,11}|\d{13})(?![\w/]|[.,-]\d)"
)


def _tax_numbers(text: str) -> Iterator[Span]:
    for match in _TAX_NUMBER.finditer(text):
        start, end = match.span()
        if not canonical(kinds.TAX_NUMBER, match[0]):
            continue
        has_slash = "/" in match[0] and not _is_named_otherwise(text, start)
        if has_slash or _is_named(text, start, end, _TAX_WORDS):
            yield Span(kinds.TAX_NUMBER, start, end)


# Identity card and passport

_ID = re.compile(
    r"(?<![\w/+-])(?:[CFGHJKLMNPRTVWXY][0-9CFGHJKLMNPRTVWXYZ]{8}(?:[ ]?\dD?)?|\d{10}[ ]?D)(?![\w]|[/-]\d)",
    re.IGNORECASE,
)


def _id_cards(text: str) -> Iterator[Span]:
    for match in _ID.finditer(text):
        start = match.start()
        # The tenth character may belong to something else.
        number = match[0] if canonical(kinds.ID_CARD, match[0]) else match[0][:9]
        if not canonical(kinds.ID_CARD, number) or not any(map(str.isdecimal, number)):
            continue
        has_check_digit = len(compact(number)) > 9 and number[0].isalpha() and number.isupper()
        is_named = _is_named(text, start, start + len(number), _ID_WORDS)
        if is_named or (has_check_digit and not _is_named_otherwise(text, start)):
            yield Span(kinds.ID_CARD, start, start + len(number))


# Licence plates

_PLATE = re.compile(
    r"(?<![\w./+-])([A-ZÄÖÜ]{1,3})([ -]|: ?| - )([A-Z]{1,2})([ -]?)([1-9]\d{0,3})([EH]?)"
    r"(?![\w]|[-/.,:]\w)"
)
_PLATE_LOOSE = re.compile(
    r"(?<![\w./+-])[A-ZÄÖÜ]{1,3}(?:[ -]| - )?[A-Z]{1,2}[ -]?[1-9]\d{0,3}[EH]?(?![\w]|[-/.,:]\w)",
    re.IGNORECASE,
)
_NO_PLATE = re.compile(r"DIN[ -](?:EN|A)\b|DIN[ -]?A\d|[A-ZÄÖÜ]{2} \d+\Z", re.IGNORECASE)
"""Standards and sizes of paper, not cars from Dinslaken; and abbreviations before a number (SH 486 Euro)."""


def _plates(text: str) -> Iterator[Span]:
    text_names_plates = bool(_PLATE_WORDS.search(text))
    for match in (_PLATE_LOOSE if text_names_plates else _PLATE).finditer(text):
        start, end = match.span()
        if _NO_PLATE.match(match[0]) or not canonical(kinds.PLATE, match[0]):
            continue
        strict = _PLATE.fullmatch(match[0])
        as_issued = strict and strict[2] == "-" and strict[4] in (" ", "") and len(strict[5]) > 1
        is_named = text_names_plates and _is_named(text, start, end, _PLATE_WORDS)
        if (as_issued and not _is_named_otherwise(text, start)) or (
            is_named and (match[0].isupper() or "-" in match[0])
        ):
            yield Span(kinds.PLATE, start, end)


# Phone

_ABROAD = re.compile(r"(?<![\w+.,/-])(?:\+|00)[ ]?[1-9][\d ()/.-]{6,22}\d")
_NATIONAL = re.compile(
    r"(?:(?<![\w+.,/-])|(?<=[a-z]\.))(?:\(?0[1-9]\d{0,5}\)?|\(0[ ][1-9](?: ?\d){1,4}\))"
    r"[ /.-]{0,3}\d[\d /.-]{3,14}\d"
)
_AMERICAN = re.compile(r"(?<![\w+.,/(-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}(?!\w|[.,/-]\d)")
_GERMAN_MOBILE = re.compile(r"01[567]\d{7,10}")
_DATE = re.compile(r"\(?0?\d{1,2}[./-]\d{1,2}[./-](?:\d{2}|\d{4})(?!\d)")
_PARTS = re.compile(r"[ ()/.-]+")
_GROUP_BEFORE = re.compile(r"\d{4}[ -]\Z")
"""Four digits right before: the middle of a longer number."""


def _phones(text: str) -> Iterator[Span]:
    for pattern in (_ABROAD, _NATIONAL, _AMERICAN):
        for match in pattern.finditer(text):
            start, end = match.start(), _end_of_phone(text, *match.span())
            if end and _is_phone(text, start, end, pattern):
                is_open = (
                    text[start] == "(" and ")" not in text[start:end]
                )  # its end stands behind the number
                yield Span(kinds.PHONE, start + is_open, end)


def _end_of_phone(text: str, start: int, end: int) -> int:
    """Where the number ends, since another one may follow; 0 if there is no number."""
    if text[end : end + 1].isalnum() or _DATE.match(text, start, end):
        return 0
    ends = [end, *sorted((gap.start() for gap in _PARTS.finditer(text, start + 6, end)), reverse=True)]
    numbers = [(at, number) for at in ends if (number := phone_number(text[start:at])) is not None]
    # A number with + may be merely possible; valid ones come first.
    valid = (at for at, number in numbers if phonenumbers.is_valid_number(number))
    return next(valid, numbers[0][0] if numbers else 0)


def _is_phone(text: str, start: int, end: int, pattern: re.Pattern[str]) -> bool:
    if text[start] == "+" or _is_named(text, start, end, _PHONE_WORDS):
        return True
    if _is_named_otherwise(text, start) or _GROUP_BEFORE.search(text[max(0, start - 5) : start]):
        return False
    if pattern is not _NATIONAL:
        return pattern is _ABROAD or text[start] == "("
    written = text[start:end]
    digits = compact(written).strip("()")
    parts = [part for part in _PARTS.split(written) if part]
    return bool(_GERMAN_MOBILE.fullmatch(digits)) or (len(parts) > 1 and len(digits) >= 8)


# Policy numbers

_UNIT = r"(?![\d.]*[ ]?(?:€|%|eur|jahr|monat|tag|woche|stück|seite|uhr))"
_POLICY = re.compile(
    r"(?<![\w-])(?:vs(?:n|nr)?|pol\.-?nr|vers|polizze"
    r"|[a-zäöüß-]{0,24}(?:versicherungs-?schein|versicherung|vertrag|police))(?:e?n|s)?\.?[ -]?"
    r"(?:schein\.?[ -]?)?(?:nr\b\.?|nummer|no\.|#)?(?:[ ]?[:=]|[ ](?:ist|lautet))?[ ]?"
    rf"(?P<number>(?:(?-i:[A-Z]{{1,4}})[ ]|[a-z]{{1,4}}-?)?{_UNIT}\d[\da-z]*"
    rf"(?:[./-][\da-z]+|[ ]{_UNIT}\d+){{0,6}})(?!\w|[.,]\d)",
    re.IGNORECASE,
)


_POLICY_HINT = re.compile(r"vs|pol|vers|vertrag", re.IGNORECASE)
"""What every match holds: the search for it is quick."""


def _policy_numbers(text: str) -> Iterator[Span]:
    if not _POLICY_HINT.search(text):
        return
    for match in _POLICY.finditer(text):
        if canonical(kinds.POLICY_NUMBER, match["number"]):
            yield Span(kinds.POLICY_NUMBER, *match.span("number"))


DETECTORS: dict[str, Callable[[str], Iterator[Span]]] = {
    kinds.IBAN: _ibans,
    kinds.CARD: _valid_matches(kinds.CARD, _CARD),
    kinds.SOCIAL_INSURANCE: _valid_matches(kinds.SOCIAL_INSURANCE, _SOCIAL),
    kinds.TAX_ID: _tax_ids,
    kinds.EMAIL: _emails,
    kinds.TAX_NUMBER: _tax_numbers,
    kinds.ID_CARD: _id_cards,
    kinds.PHONE: _phones,
    kinds.PLATE: _plates,
    kinds.ADDRESS: addresses.find,
    kinds.POLICY_NUMBER: _policy_numbers,
}
"""By kind, in the order of rank: where two claim the same text, the first wins."""


def detect(text: str) -> Iterator[Span]:
    """Everything that the detectors find in a `fold`ed text; spans may overlap."""
    if not any(map(str.isdecimal, text)):
        yield from _emails(text)
        return
    for find in DETECTORS.values():
        yield from find(text)
