"""A specialist as files."""
