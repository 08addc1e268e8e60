"""PREMIS: the model of events and agents, its XML, the append-only log and its seals (premis.md)."""
