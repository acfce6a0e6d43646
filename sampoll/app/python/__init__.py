"""sampoll for programs: a model that is loaded once, and results in memory."""
