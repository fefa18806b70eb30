"""Who may do what: API keys, and the rate limits that belong to them."""
