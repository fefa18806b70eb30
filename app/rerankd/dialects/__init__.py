"""API families: the structs each one speaks, and their translations to and from the domain."""
