"""ESD for text-to-image models, with their own guidance negated."""
