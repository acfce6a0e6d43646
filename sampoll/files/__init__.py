"""File operations that do not depend on jobs."""
