"""Rankings, and what is measured of them. Numpy alone."""
