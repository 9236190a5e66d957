"""Valid values of every kind, made by computing their check digits; whose they are is chance."""

import random

import phonenumbers
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.de import idnr
from stdnum.iso7064 import mod_11_10, mod_97_10

from azubi.data.pii import kinds
from azubi.data.pii.kinds import DISTRICTS, network

BBANS = {
    "DE": "n18",
    "AT": "n16",
    "NL": "a4n10",
    "GB": "a4n14",
    "FR": "n23",
    "BE": "n12",
    "PL": "n24",
    "MT": "a4n5n18",
}
UPPER, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
ISSUERS = [("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("36", 14), ("6011", 16), ("5018", 12)]
DISTRICT_LIST = sorted(DISTRICTS)


def drawn(rng, alphabet, count):
    return "".join(rng.choice(alphabet) for _ in range(count))


def iban(rng, country=None):
    country = country or rng.choice(list(BBANS))
    pattern, bban = BBANS[country], ""
    for part in pattern.replace("a", " a").replace("n", " n").split():
        bban += drawn(rng, UPPER if part[0] == "a" else DIGITS, int(part[1:]))
    if country == "BE":
        bban = bban[:10] + f"{int(bban[:10]) % 97 or 97:02d}"
    return country + mod_97_10.calc_check_digits(bban + country) + bban


def card(rng):
    first, length = rng.choice(
        [("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("36", 14), ("6011", 16), ("5018", 12)]
    )
    body = first + drawn(rng, DIGITS, length - len(first) - 1)
    return body + luhn.calc_check_digit(body) if network(body + "0") else card(rng)


def tax_id(rng):
    while True:
        body = rng.choice(DIGITS[1:]) + drawn(rng, DIGITS, 9)
        if idnr.is_valid(number := body + mod_11_10.calc_check_digit(body)):
            return number


def tax_number(rng):
    pattern = rng.choice(["{}/{}/{}", "{}{}{}"])
    sizes = rng.choice([(2, 3, 5), (3, 3, 5), (3, 4, 4)])
    return pattern.format(*(drawn(rng, DIGITS[1:], size) for size in sizes))


def social_insurance(rng):
    day, month = rng.randint(1, 31), rng.randint(1, 12)
    born = f"{day:02d}{month:02d}{drawn(rng, DIGITS, 2)}"
    number = f"{rng.randint(10, 29)}{born}{rng.choice(UPPER)}{drawn(rng, DIGITS, 2)}"
    return number + kinds.social_insurance_digit(number)


def id_card(rng):
    body = rng.choice("LMNPRTVWXY") + drawn(rng, "0123456789CFGHJKLMNPRTVWXYZ", 7) + rng.choice(DIGITS)
    return body + (kinds.document_digit(body) if rng.random() < 0.5 else "")


def plate(rng):
    district = rng.choice(DISTRICT_LIST)
    letters = drawn(rng, UPPER, rng.randint(1, 2))
    digits = rng.choice(DIGITS[1:]) + drawn(rng, DIGITS, rng.randint(1, 7 - len(district) - len(letters)) - 1)
    return f"{district}-{letters} {digits[:4]}"


def phone(rng):
    while True:
        front = rng.choice(
            ["+49 30 ", "030 ", "0170 ", "+49 171 ", "089/", "+43 1 ", "+44 20 79", "+33 1 ", "040-"]
        )
        text = front + rng.choice(DIGITS[2:]) + drawn(rng, DIGITS, 6)
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(text, "DE")):
                return text
        except phonenumbers.NumberParseException:
            continue


def email(rng):
    local = drawn(rng, "abcdefghijklmnopqrstuvwxyzäöü0123456789", rng.randint(1, 9))
    more = rng.choice(["", ".x", "_9", "+a", "-b"])
    domain = drawn(rng, "abcdefghijklmnopqrstuvwxyz", rng.randint(2, 9))
    return f"{local}{more}@{domain}.{rng.choice(['de', 'com', 'co.uk', 'museum'])}"


def address(rng):
    street = drawn(rng, UPPER, 1) + drawn(rng, "abcdefghijklmnopqrstuvwxyzäöü", rng.randint(3, 9))
    street += rng.choice(["straße", "str.", "weg", "-Allee", "er Platz"])
    place = drawn(rng, UPPER, 1) + drawn(rng, "abcdefghijklmnopqrstuvwxyz", rng.randint(3, 9))
    number = f"{rng.randint(1, 199)}{rng.choice(['', 'a', ' b'])}"
    return f"{street} {number}" + rng.choice(["", f", {rng.randint(10_000, 99_999)} {place}"])


def policy_number(rng):
    front = rng.choice(["P-", "KH ", "", "40-"])
    return (
        front
        + drawn(rng, DIGITS[1:], rng.randint(3, 5))
        + rng.choice(["", ".", "-", "/"])
        + drawn(rng, DIGITS, 3)
    )


MAKERS = {
    kinds.EMAIL: email,
    kinds.PHONE: phone,
    kinds.IBAN: iban,
    kinds.CARD: card,
    kinds.TAX_ID: tax_id,
    kinds.TAX_NUMBER: tax_number,
    kinds.SOCIAL_INSURANCE: social_insurance,
    kinds.ID_CARD: id_card,
    kinds.PLATE: plate,
    kinds.ADDRESS: address,
    kinds.POLICY_NUMBER: policy_number,
}
LEADS = {
    kinds.TAX_NUMBER: "Steuernummer ",
    kinds.ID_CARD: "Personalausweis ",
    kinds.PHONE: "Tel. ",
    kinds.PLATE: "Kfz ",
    kinds.POLICY_NUMBER: "VS-Nr. ",
}
"""What a text must say before a value of common form."""

seeds = st.integers(0, 2**40)
values = st.builds(
    lambda kind, seed: (kind, MAKERS[kind](random.Random(seed))), st.sampled_from(sorted(MAKERS)), seeds
)
keys = st.binary(min_size=32, max_size=32)
