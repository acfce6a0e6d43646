"""Acts on files that know nothing of jobs."""
