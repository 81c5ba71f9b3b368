"""What networks say of images: likelihood bounds, likelihoods, features, losses."""
