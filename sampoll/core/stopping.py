"""How soon a stop is noticed."""

STOP_POLL_SECONDS = 0.2
"""A waiting transport checks its `stop` event at least this often."""
