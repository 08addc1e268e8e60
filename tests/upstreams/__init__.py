"""Upstreams for tests: a server that misbehaves on demand, records for it, and recorded answers."""
