"""Harvest sources: one module each."""
