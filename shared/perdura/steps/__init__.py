"""The work of each preservation step: pure of HTTP, (archive, ports) -> outcome."""
