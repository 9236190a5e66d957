"""The pipeline: whole commands (run, ask, prove, compare, check, erase), composed from the rooms below."""
