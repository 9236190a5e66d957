"""The data versions of one home: their rows, encrypted, and what was erased from them."""
