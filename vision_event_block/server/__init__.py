"""The Vision Events API on your own machine, with a page to look at what came in."""
