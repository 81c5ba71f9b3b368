"""EraseDiff: forget images are erased at a given rate, with the least change to training on what is retained."""
