"""All of caching: what was made once is not made again while it is fresh, and never twice at the same time."""
