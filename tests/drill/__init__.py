"""Backs up and restores both databases under write load, and checks every acknowledged write."""
