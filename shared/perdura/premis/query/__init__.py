"""Pages of events of the log."""

from perdura.premis.query.filters import PAGE, Filter, Order, Place, Sight
from perdura.premis.query.kinds import kinds_of
from perdura.premis.query.pages import Page, key_of, page
from perdura.premis.query.sight import hides, unseen
from perdura.premis.query.totals import counted

__all__ = [
    "PAGE",
    "Filter",
    "Order",
    "Page",
    "Place",
    "Sight",
    "counted",
    "hides",
    "key_of",
    "kinds_of",
    "page",
    "unseen",
]
