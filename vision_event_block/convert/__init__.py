"""Predictions turned into the API's annotation lists: pure geometry, arrays in, lists out."""
