"""From a model's name to a judged file on this machine."""
