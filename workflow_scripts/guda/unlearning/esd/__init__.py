"""ESD: forget images are steered away from their group."""
