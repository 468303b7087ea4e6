"""The parts of invdiff reconstruct: what was asked for, what is read, what is written."""
