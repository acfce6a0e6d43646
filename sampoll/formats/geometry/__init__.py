"""Masks as outlines and as run-length encodings."""
