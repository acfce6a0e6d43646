"""`sampoll doctor`: checks whether a run with these settings would work here, and what to fix if not."""
