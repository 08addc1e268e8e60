"""An Archivematica of ours for tests: dashboard and Storage Service, faithful to the recordings beside it."""
