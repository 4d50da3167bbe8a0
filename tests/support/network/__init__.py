"""Shared code of the network proofs: clients, HTTP/2 frames, and the state of a process."""
