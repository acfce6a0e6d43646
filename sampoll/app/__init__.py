"""The operations of the command line and of the Python interface, one module each."""
