"""Pictures: their bytes in a folder or a bucket, their properties, and their thumbnails."""
