"""Real workflows on made-up recordings: what `vision-events demo` shows."""
