"""Fine-tuning on what is retained."""
