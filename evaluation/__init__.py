"""How good the networks are, and clips whose truth is known."""
