"""Submissions through a model, in threads: decode, embed, decode masks, clean, render."""
