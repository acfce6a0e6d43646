"""Models behind the Segmenter seam."""
