"""The REST API of InvenioRDM as its servers really answer it (inveniordm.md 1 and 3), one method a request."""
