"""ELBOs, likelihoods, features and losses of images under networks."""
