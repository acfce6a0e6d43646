"""What people send, into values: images, prompt files, and data sets."""
