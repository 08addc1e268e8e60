"""Bags that test every rule; `generate.py` makes them, `bags/` says what they must be judged as."""
