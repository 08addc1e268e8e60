"""Packages: BagIt bags in any container, read and written as streams (packages.md)."""
