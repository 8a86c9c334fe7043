"""Speed and memory, as JSON. Nothing here is asserted: machines differ and are noisy."""
