"""Tests of the rules: ``python -m unittest`` in the directory of the example."""
