"""TensorRT: engines built without a GPU, what they prove, and the commands for a board."""
