"""Fails a PostgreSQL cluster over under write load, and looks what became of the writes."""
