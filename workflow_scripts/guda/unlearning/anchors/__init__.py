"""ReTrack with anchors (GUDA-C): prompts of a style are redirected to prompts of other styles."""
