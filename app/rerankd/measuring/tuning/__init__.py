"""Finding the fastest settings of a model on this machine by running it."""
