"""Imports prompts from existing data sets: one module for each kind, registered as an entry point."""
