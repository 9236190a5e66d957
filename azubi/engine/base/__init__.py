"""Bases: open models, their files and licences, and where they are cut."""
