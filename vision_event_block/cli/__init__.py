"""The command `vision-events`."""
