"""``python -m sample_apps.demo``: the shop on three frameworks beside each other, and a tour of real HTTP requests."""
