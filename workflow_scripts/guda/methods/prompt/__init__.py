"""Words of the prompt."""
