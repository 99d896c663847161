"""The lab: a generated world in which the truth is known, so that the instrument itself can be tested."""
