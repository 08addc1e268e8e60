"""The registry: what is kept, where, in which state, and what happens next."""
