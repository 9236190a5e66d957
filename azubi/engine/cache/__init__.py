"""The activation cache: what the trunk made of each example, encrypted on disk."""
