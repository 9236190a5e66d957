"""Events: what a run tells, as typed records, and the figures that they quote."""
