"""Scoring processes with the networks loaded, and who supervises them."""
