"""Rankings and their evaluation, with numpy only."""
