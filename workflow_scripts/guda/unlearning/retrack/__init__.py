"""ReTrack: forget images are redirected to their retained neighbours."""
