"""Pictures: their bytes in a folder or a bucket, what is known of them, and their thumbnails."""
