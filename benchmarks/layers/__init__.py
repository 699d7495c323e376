"""Where the time of a model goes: operators, their precision, and the limits of the machine."""
