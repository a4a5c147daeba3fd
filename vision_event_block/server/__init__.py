"""The Vision Events API on your own machine, with a page that shows the events."""
