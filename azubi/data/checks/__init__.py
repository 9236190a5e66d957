"""Looks through a data set before anything is learned from it, and says what is wrong with it.

Every check is a function of a `CheckInput` that yields findings; `check.CHECKS` names them. Knows nothing of
models: tokens are counted by a function that is given.
"""
