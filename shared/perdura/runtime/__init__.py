"""What turns a step into a function: inbox, transitions, one closing transaction, emission (architecture §3)."""
