"""The main job from set-up to bundle."""
