"""SISS: the loss on all images minus the loss on forget images, with one prediction for both."""
