"""The demonstration: the main job, shown in a terminal."""
