"""Segmenters and their weights: a family of models is one module or folder."""
