"""OAI-PMH 2.0: harvesting of what is published here."""
