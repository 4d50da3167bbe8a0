"""What the network proofs share: callers, HTTP/2 by hand, and what a process holds."""
