"""What a camera saw before and after an event: a ring of small pictures, and who waits for it."""
