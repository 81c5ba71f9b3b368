"""Training images, their groups and prompts, and the images to attribute."""
