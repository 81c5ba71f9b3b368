"""ReTrack: redirects forget images to their retained neighbors."""
