"""Personal data in examples: found by form and check digit, then reported, masked, given stand-ins or
refused.

    scanner    what stands where, from detectors (`detectors`), the company's `own` patterns and `names`
    standins   a keyed stand-in of the same shape for every value; `shapes` says what a shape is
    keeping    the key file, and the map of values and stand-ins that is encrypted with it
    policy     report | mask | pseudonym | refuse, applied to examples and to questions
    finding    what a check tells of it

Knows no model, but for a name recogniser that the company brings (`names`), and no other room.
"""
