"""Storage: atomic files, locks, keys, encrypted files."""
