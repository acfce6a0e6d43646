"""`sampoll annotate`: a page on which people mark objects in the images of a folder."""
