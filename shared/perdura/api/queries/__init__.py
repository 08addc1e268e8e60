"""Reading queries of the API and the pages: each takes a connection and gives back rows, never HTTP."""
