"""The database: events, use cases, API keys and sessions, in SQLite or PostgreSQL."""
