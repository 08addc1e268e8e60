"""Upstreams that can be harvested: profiles as data, one module per protocol, plans of what to fetch."""
