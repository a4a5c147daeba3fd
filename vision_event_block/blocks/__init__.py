"""The blocks as the host's engine sees them. The only part that imports the host."""
