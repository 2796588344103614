"""Fuzzing: a target for each parser of external input.

`tests/fuzz/test_targets.py` runs each target for a second or two; `make fuzz` runs them for longer.
"""
