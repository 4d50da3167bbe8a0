"""Replaces one version by another and back, under load, and checks everything acknowledged."""
