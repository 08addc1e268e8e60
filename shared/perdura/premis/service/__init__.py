"""The log over HTTP: the interface of the UNT PREMIS Event Service, and what goes beyond it (premis.md 1)."""

from perdura.premis.service.call import Telling
from perdura.premis.service.door import Deed, Door, Holder
from perdura.premis.service.respond import respond

__all__ = ["Deed", "Door", "Holder", "Telling", "respond"]
