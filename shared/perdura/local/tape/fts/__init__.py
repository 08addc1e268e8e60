"""An FTS3 REST server for one machine, as FTS REST 3.13.4 answers and as its daemons work (fts-cta.md 2 to 5).

`identity` who asks; `delegation` proxies; `submission` what may be asked for; `transitions` the state machine as
pure functions; `ledger` what is remembered; `service` the REST interface; `daemon` what really copies and stages.
"""
