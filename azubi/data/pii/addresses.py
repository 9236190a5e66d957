"""German addresses: a street with a house number, and the postal code and place behind it.

    Lindenallee 14, 22087 Hamburg        Berliner Platz 4        Am Alten Markt 5, 18055 Rostock

Without postal code only what ends like a street counts (Straße, Allee, Gasse, Chaussee, Weg, Platz), since a
ring may be jewellery. With it, any name does. Villages without streets, post boxes, a place alone and
addresses of other countries are not known.
"""

import re
from collections.abc import Iterator

from azubi.data.pii.kinds import ADDRESS, Span, canonical

_REACH = 64
"""Characters before a house number in which its street's name begins."""
_LETTER = r"(?:[ ]?[a-hA-H](?![^\W_]))?"
_PLACE = (
    r"(?:,?[ ]in[ ]|,?[ ]?\n[ ]?|,?[ ]|,)(?:D[- ])?\d{5}[ ]+(?!(?i:euro?|stück|km|kilometer)\b)"
    r"(?:(?:Bad|Sankt|St\.|Groß|Klein|Neu|Alt)[ ])?[^\W\d_][\w-]{1,40}"
    r"(?:[ ](?:am|an[ ]der|im|in[ ]der|bei|vor[ ]der|ob[ ]der)[ ][A-ZÄÖÜ][\w-]{1,30})?"
)
_HOUSE = re.compile(
    rf"(?:(?<=[^\W\d_][ ])|(?<=\.[ ])|(?<=[Ss]tr\.))\d{{1,3}}{_LETTER}(?:[ ]?[-–/+][ ]?\d{{1,3}}{_LETTER})?"
    rf"(?![\w]|[.,:/-]\d)(?P<place>{_PLACE})?"
)
_UNITS = re.compile(
    r"[ ]?(?:€|%|°|(?:km|kilometer|m|meter|cm|mm|qm|min|minute|std|stunde|uhr|mal|x|eur|euro|prozent|zeuge|"
    r"auto|kind|person|leute|jahr|monat|woche|tag|grad|stück|wohnung|häuser|fahrzeug|anwohner|nachbar|meldung)"
    r"(?:n|e|en|s|r|er)?\b)",
    re.IGNORECASE,
)
"""What a number counts that is no house's."""
_WORD = r"[A-ZÄÖÜ](?:[\w-]|\.-){1,40}"
_ROAD = r"(?i:stra(?:ß|ss)e|str\.?|allee|gasse|chaussee|weg|platz)"
_NO_NAME = (
    r"(?!(?i:(?:d|dies|ein|unser|ihr|mein|sein|jen|welch)(?:e[rnms]?|as)|auf|vor|neben|gegenüber|(?:bundes|kreis|"
    r"landes|staats|schnell|wasch|einbahn)(?:straße|strasse|str\.?)|sackgasse|(?:park|sitz|stell|spiel|arbeits|"
    r"camping|schlaf|steh|lager|liege|abstell)platz|(?:heim|rück|hin|um|rad|fuß|geh|fahr|aus|arbeits|kies|"
    r"flucht)weg)\b)"
)
"""Words that end like streets or stand before one."""
_STREET = re.compile(
    rf"(?<![\w-])(?:{_NO_NAME}{_WORD}[ ]{_ROAD}|(?:{_NO_NAME}{_WORD}er[ ])?{_NO_NAME}{_WORD}{_ROAD}"
    rf"|(?:Stra(?:ß|ss)e|Platz|Allee)[ ](?:des|der|am|zum)[ ](?:\d{{1,2}}\.[ ])?{_WORD}(?:[ ]{_WORD})?)[ ]?\Z"
)
_NAMED = re.compile(
    rf"(?<![\w-])(?:(?:Am|An|Auf|Im|In|Zum|Zur|Unter|Hinter|Bei|Beim|Vor|Vorm|(?:Alt|Neu|Groß|Klein|Hoh|Lang|Kurz|"
    rf"Breit)e[rns]?)(?:[ ](?:der|den|dem))?[ ](?!(?i:adresse|anschrift))(?:{_WORD}[ ])?)?"
    rf"(?:{_WORD}|[a-zäöü][\w-]{{1,40}}{_ROAD})[ ]?\Z"
)
"""Any name that a postal code makes a street's."""
_OTHER = re.compile(
    r"(?i:rechnung|seite|position|pos|nr|nummer|teil|artikel|zimmer|raum|halle|los|team)[ ]?\Z"
)


def find(text: str) -> Iterator[Span]:
    """The addresses in a text; where there is a postal code and a place, they belong to it."""
    for house in _HOUSE.finditer(text):
        before = text[max(0, house.start() - _REACH) : house.start()]
        has_place = house["place"] is not None
        streets = [_STREET.search(before)]
        if has_place and not _OTHER.search(before):
            streets.append(_NAMED.search(before))
        starts = [street.start() for street in streets if street]
        if not starts or (not has_place and _UNITS.match(text, house.end())):
            continue
        start = house.start() - len(before) + min(starts)
        if canonical(ADDRESS, text[start : house.end()]):
            yield Span(ADDRESS, start, house.end())
