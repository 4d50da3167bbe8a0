"""Shared code of the end-to-end tests: the service as a process, its databases and its peers."""
