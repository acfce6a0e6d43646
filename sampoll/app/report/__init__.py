"""OUTPUT/report.html: what a run has made, for people."""
