"""Images of a tree that is only read, results into another tree: directories or object stores."""
