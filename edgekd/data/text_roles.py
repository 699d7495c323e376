"""What the inputs of networks and files of texts mean, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Role = Literal["ids", "mask", "padding", "lengths", "offsets", "types", "positions"]
NAMES: Mapping[Role, str] = {
    "ids": r"input_?ids?|ids|(token|word|char|piece)(s|_?ids?|_?indices)?|x|xs|xb|inp|inputs?|data"
    r"|(input_?)?(text|src|source|sent|sentence|seq|sequence|doc|document)(s|_?ids?|_?tokens?)?"
    r"|indices|idx|batch",
    "mask": r"(attention|input|token|text|src|sequence|seq|valid|word)?_?masks?",
    "padding": r"(src_|source_|text_|token_|key_|input_)*pad(ding)?_masks?|mask_pad",
    "lengths": r"(?!max|min|total)(\w+_)?(len|lens|length|lengths)",
    "offsets": r"offsets?",
    "types": r"(token_?)?type_?ids?|token_types?|segments?|segment_(ids?|labels?|info)|seg_?ids?",
    "positions": r"pos(ition)?s?|pos(ition)?_ids?",
}
"""Role -> names of parameters, lower case, as a regular expression."""


def role_of(name: str) -> Role | None:
    """Return what an input of this name gets; None: that is not known."""
    return next((role for role, names in NAMES.items() if re.fullmatch(names, name, re.I)), None)
