"""The four commands of the SAM Docker image that sampoll takes the place of: their names, their flags, their
messages and what they do with files, without their defects. docs/migrating.md lists each difference."""
