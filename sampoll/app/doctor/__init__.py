"""`sampoll doctor`: would a run with these settings work here, and if not, what is to be done."""
