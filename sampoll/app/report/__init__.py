"""OUTPUT/report.html: the results of a run, for people."""
