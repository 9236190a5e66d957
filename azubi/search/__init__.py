"""Searches: settings are tried on the validation examples, within a budget of time."""
