"""Many recordings, side by side: on this machine, or as jobs on every worker machine."""
