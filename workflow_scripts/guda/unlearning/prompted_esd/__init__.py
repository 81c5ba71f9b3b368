"""ESD of a model that is told prompts: its own guidance, turned round."""
