"""What the shop does, whatever framework asks: no web framework and no redis-mw calls, but for reading its settings."""
