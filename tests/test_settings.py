"""Times as people write them."""

import pytest
from pydantic import ValidationError

from azubi.settings import Recipe, seconds


@pytest.mark.parametrize(
    ("text", "written"),
    [("20m", 1200), ("1h30m", 5400), ("90s", 90), ("2h", 7200), ("1h1m1s", 3661), (" 5m ", 300)],
)
def test_a_budget_in_seconds(text, written):
    assert seconds(text) == written
    assert Recipe(budget=text).budget == text.strip()


@pytest.mark.parametrize("text", ["", "0s", "0h0m", "20", "m", "30m1h", "1.5h", "-5m", "20 minutes"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValidationError, match="not a time such as 20m"):
        Recipe(budget=text)
