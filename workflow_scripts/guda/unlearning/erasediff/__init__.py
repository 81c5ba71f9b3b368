"""EraseDiff: erases forget images at a given rate, with the least change to training on retained images."""
