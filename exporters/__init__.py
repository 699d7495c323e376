"""How it leaves: ONNX, parity checks, what a file holds."""
