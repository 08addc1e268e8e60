"""Who uses this installation: accounts, sessions, tokens, what each may see and do, and the log of what they did."""
