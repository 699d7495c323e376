"""TensorRT's command line: which options a version takes, and what it writes."""
