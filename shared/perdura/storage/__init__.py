"""Object storage as Perdura uses it: ranged reads, verified writes, versions, retention (architecture §5)."""
