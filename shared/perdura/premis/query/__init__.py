"""Pages of events of the log."""

from perdura.premis.query.filters import PAGE, Filter, Order, Place
from perdura.premis.query.kinds import kinds_of
from perdura.premis.query.pages import Page, key_of, page
from perdura.premis.query.totals import total

__all__ = ["PAGE", "Filter", "Order", "Page", "Place", "key_of", "kinds_of", "page", "total"]
