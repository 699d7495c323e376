"""The scrutiny of a teacher before anything learns from it."""
