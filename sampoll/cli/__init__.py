"""The command line: parse, call `app`, exit."""
