"""Checks a data set before anything is learned from it: every check is a function of a `CheckInput`."""
