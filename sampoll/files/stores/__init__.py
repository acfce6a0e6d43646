"""Trees of files of which each is read and written as a whole: a directory, or a part of a bucket."""
