"""Model families: how each is recognised, prompted, scored and sized, in a module of its own.

A new family is a module here with one `Family`, its line in `registry`, and its tests.
"""
