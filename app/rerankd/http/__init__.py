"""The HTTP edge: routes, guard, error statuses and the API page, over Litestar."""
