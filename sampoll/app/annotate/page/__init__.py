"""The page: plain HTML, CSS and JavaScript, served as these files are."""
