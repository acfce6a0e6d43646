"""Formats of a whole data set: files about many results, made from their records."""
