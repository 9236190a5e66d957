"""The languages in which azubi speaks to people: catalogues, numbers, and which language holds.

What programs read (events, JSON, cards) is English. A text gets its language when it is shown, by
`current.translated`.
"""
