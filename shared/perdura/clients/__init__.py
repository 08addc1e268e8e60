"""Clients of outside systems; they know nothing of the registry."""
