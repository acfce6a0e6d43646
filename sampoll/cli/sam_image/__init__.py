"""The four commands of the SAM Docker image that sampoll replaces: the same names, flags, messages and file
handling, without the defects. docs/migrating.md lists each difference."""
