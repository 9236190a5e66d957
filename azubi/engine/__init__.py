"""The engine: open a base, cut it, cache what its trunk makes of the examples, train the tail, answer."""
