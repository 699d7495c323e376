"""What a file is worth: its quality, its speed, and whether a step paid."""
