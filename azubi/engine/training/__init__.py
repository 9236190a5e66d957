"""Tails: what is trained, from activations."""
