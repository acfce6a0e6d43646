"""Requests over HTTP: images and prompts in, masks out."""
