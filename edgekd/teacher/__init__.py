"""The teacher as the first stage of a run."""
