"""Code shared by the stage programs: their command line, and how models are trained and saved."""
