"""What a model is for: outputs, hard loss, metrics."""
