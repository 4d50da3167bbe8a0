"""Fails over a PostgreSQL cluster under write load, and checks every acknowledged write."""
