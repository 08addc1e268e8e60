"""A tape library for one machine: an FTS3 REST server and a tape endpoint that really move and evict files.

`http` is the small server both use; `library` the disk buffer, the drives and the tapes; `endpoint` WebDAV,
HTTP third-party copy and the WLCG Tape REST API; `fts` the transfer service; `faults` what may be made to go wrong.
It follows fts-cta.md sections 2 to 4, 7 and 11, and is meant for development, tests and small institutions.
"""
