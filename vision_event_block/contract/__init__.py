"""The words and limits of the Vision Events API, used by the block, the server and the stand-in."""
