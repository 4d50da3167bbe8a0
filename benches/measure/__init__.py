"""Measures the service against reference tools; run by scripts/bench.

Each row alternates between the service and its reference in one run on one machine, so that only
the ratio counts. `rows` defines the measurements, the other modules carry them out.
"""
