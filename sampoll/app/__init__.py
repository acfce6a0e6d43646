"""One module for each thing that a command, or a program, can ask for."""
