"""The bundle: the folder that a user ships, with golden outputs to verify it.

    model.<variant>.onnx, model.<variant>.batch1.onnx    what runs
    preprocess.json, preprocess/, labels.json            what comes before and after it
    golden/                                              raw inputs, tensors, expected outputs
    manifest.json, MODEL_CARD.md, report.html            what it is, for programs and for people
    SHA256SUMS                                           of every other file

`write` makes it, completely or not at all; `verify` checks it anywhere.
"""

from edgekd.bundle.verify import VerifyReport, verify
from edgekd.bundle.write import Contents, write

__all__ = ["Contents", "VerifyReport", "verify", "write"]
