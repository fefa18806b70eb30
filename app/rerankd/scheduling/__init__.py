"""Whose turn it is: the queue, the plan of each step, and the threads that run it."""
