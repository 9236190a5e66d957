"""Reads worked examples as companies have them, row by row: usable rows go on, others come with a reason."""
