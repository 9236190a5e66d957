"""A rule that was found, before anybody has judged it."""

from dataclasses import dataclass

ERROR, LIMIT, ENTRY, STEP = 15.0, 10.0, 4.0, 8.0
"""What a rule costs, in bits more or less: a record that it gets wrong, a limit, an entry of a table, a case.
The cheapest of several rules says most with least; a rule with many limits has to earn them."""


@dataclass(frozen=True, slots=True)
class RuleCandidate:
    """An expression for a field, and how much it says."""

    text: str
    inputs: tuple[str, ...]
    cost: float
    """Of its length and of the records that it was made from and yet gets wrong."""
