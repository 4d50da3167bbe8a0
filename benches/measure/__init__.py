"""Measures the service side by side with its limits; see scripts/bench, which calls it.

Every row of the table of goals takes turns with what it is held against, in one run on one machine,
so that only the ratio counts. `rows` says what is measured, the other modules how.
"""
