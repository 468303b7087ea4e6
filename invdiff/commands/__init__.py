"""The commands of the command line, one module each; `invdiff.cli` declares their options."""
