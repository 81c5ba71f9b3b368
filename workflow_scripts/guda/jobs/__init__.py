"""What the programs of jobs share: their command line, and how a model is made."""
