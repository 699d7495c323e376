"""What samples of the test split show, by task, for the record of a run."""
