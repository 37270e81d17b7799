"""Caching: responses that are shared between requests, and the data under them."""
