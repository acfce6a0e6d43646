"""The status page of a service: its values, templates, style and script."""
