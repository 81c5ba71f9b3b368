"""Fine-tuning on the retained images."""
