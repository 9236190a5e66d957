"""Exports: a specialist as files that other programs run."""
