"""Proofs on PostgreSQL with Citus: a coordinator and two workers."""
