"""The settings: declared once, described, and resolved from flags, variables and files."""
