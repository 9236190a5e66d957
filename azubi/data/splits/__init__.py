"""Splits: which examples are learned from, chosen with and measured with."""
