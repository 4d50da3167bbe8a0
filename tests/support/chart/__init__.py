"""Shared code of the chart's tests: rendering, expressions and processes."""
