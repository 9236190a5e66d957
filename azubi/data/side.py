"""The three sides of a split: to learn from, to choose the best epoch with, to measure with."""

from typing import Literal, get_args

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)

Part = Literal["data", "test_data", "validation_data"]
"""The setting that named where examples came from."""
