"""Random scores."""
