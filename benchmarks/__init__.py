"""How azubi does beside other tools, on one machine, measured in one go. See docs/benchmarks.md."""
