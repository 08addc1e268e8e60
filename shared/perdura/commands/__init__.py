"""The commands of `perdura`: what a person types, told apart from what it does."""
