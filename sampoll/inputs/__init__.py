"""Parses what users send: images, prompt files, and data sets."""
