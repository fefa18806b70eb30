"""One module a family of clients; each function ranks with one of them."""
