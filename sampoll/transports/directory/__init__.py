"""Pairs from a watched directory, results into another."""
