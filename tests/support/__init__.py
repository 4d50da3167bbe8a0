"""Shared code of the Python test suites and benchmarks, imported with tests/ in the search path.

This package has what several suites use: processes, databases, the service and its e-mail servers.
`chart` and `network` are for the suites of these names.
"""
