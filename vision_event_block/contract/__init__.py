"""The words and limits of the Vision Events API, read by the block, the server and the stand-in."""
