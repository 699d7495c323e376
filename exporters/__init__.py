"""Export to ONNX, check parity, and read ONNX files."""
