"""Inference: generation, constraints, answers, scope."""
