"""The stages of a run, one per file: each takes what earlier ones left and returns what it leaves itself.

    data -> (search) -> base -> instruction -> trunk -> tail -> evaluation -> packaging

A stage is a generator: it yields what happens as events. What it returns is frozen and typed, so what a stage
depends on stands in its signature. `pipeline.run` puts them in a row; they know nothing of each other's work.
"""
