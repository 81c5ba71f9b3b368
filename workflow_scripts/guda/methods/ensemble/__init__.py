"""Combined scores of several methods."""
