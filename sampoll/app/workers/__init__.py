"""Several processes that share the work of one command, and the one that watches them."""
