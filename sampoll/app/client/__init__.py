"""Clients of a service on Redis: send pairs, and collect the results."""
