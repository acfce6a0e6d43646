"""A service seen from outside: health, metrics, a page to look at, and what systemd wants to know."""
