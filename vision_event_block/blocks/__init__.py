"""The block as the host's engine sees it. The only part that imports the host."""
