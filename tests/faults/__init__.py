"""What the service does when things go wrong, tried on the service as a user starts it."""
