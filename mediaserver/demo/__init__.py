"""`mediaserver demo`: synthetic callers and agents place real calls, so that the review page has something to show."""
