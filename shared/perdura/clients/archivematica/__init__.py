"""Client of Archivematica's dashboard and Storage Service, over HTTP alone (reference: archivematica.md 1 and 2)."""
