"""Phrases that several stages say."""


def some(count: int, what: str, more: str = "") -> str:
    """1 row is, 2 rows are."""
    return f"{count:,} {what}{more} is" if count == 1 else f"{count:,} {what}s{more} are"
