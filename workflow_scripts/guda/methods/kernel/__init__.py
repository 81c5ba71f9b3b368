"""A counterfactual without training: what the base model would predict, by the training images near each query."""
