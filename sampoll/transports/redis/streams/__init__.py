"""Jobs in a Redis stream, shared by any number of workers: each is done once, or reported as failed."""
