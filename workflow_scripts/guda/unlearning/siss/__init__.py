"""SISS: training on all images less training on the forget images, by one prediction for both."""
