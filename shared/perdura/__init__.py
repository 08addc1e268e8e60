"""Perdura keeps what must outlive its makers: digital preservation as serverless functions."""

__version__ = "0.1.0"
