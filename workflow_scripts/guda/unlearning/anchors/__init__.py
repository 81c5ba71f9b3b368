"""ReTrack by anchors: prompts of a style are redirected to those of others (GUDA-C)."""
