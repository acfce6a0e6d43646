"""Prompts from data sets that people have: a module for each kind, all of them listed in `kinds`."""
