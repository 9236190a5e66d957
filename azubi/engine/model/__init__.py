"""Trunks: what is frozen, and fills the activation cache."""
