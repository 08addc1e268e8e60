"""A real InvenioRDM v14 as a test peer: `server/` starts it, `peer` uses it from tests (README.md)."""
