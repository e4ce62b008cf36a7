"""Simple methods that every model must be shown beside: each fills in hidden values, none has seen the test data."""
