"""The specialists of one home."""
