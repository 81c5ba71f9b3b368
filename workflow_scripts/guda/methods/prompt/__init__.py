"""Words of the prompt, as a baseline."""
