"""Middleware for every request before a route sees it, and for every answer. Pure ASGI."""
