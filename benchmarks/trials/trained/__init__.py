"""Networks, data and recipes of the trial that trains eight networks and quantizes them."""
