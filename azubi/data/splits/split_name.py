"""The three sides of a split: to learn from, to choose the best epoch with, to measure with."""

from typing import Literal, get_args

SplitName = Literal["train", "validation", "test"]
SIDES: tuple[SplitName, ...] = get_args(SplitName)

Part = Literal["data", "test_data", "validation_data"]
"""The setting that named where examples came from."""
