"""Which model ranks a person's own judged queries best, and at what speed."""
