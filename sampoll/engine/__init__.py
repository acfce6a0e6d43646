"""Processes submissions with a model, in threads: decode, embed, decode masks, clean, render."""
