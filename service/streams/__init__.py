"""Streams that are followed for a client: kept in the database, each in a process of its own."""
