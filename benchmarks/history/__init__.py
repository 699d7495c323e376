"""Results over time, and the question whether something became slower."""
