"""A training-free counterfactual: the base model's prediction shifted according to nearby training images."""
