"""The stages of a proof: each a generator of events that returns what it found."""
