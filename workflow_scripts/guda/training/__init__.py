"""The one training loop, and its saved state."""
