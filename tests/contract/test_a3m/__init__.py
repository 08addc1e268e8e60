"""a3m as an engine, against a program that behaves as a3m's command does."""
