"""INT8: calibration, Q/DQ insertion, and the step."""
