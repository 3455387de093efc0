"""One request and its response: authentication, rate limit and protocol."""
