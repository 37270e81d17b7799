"""What ``python -m benchmarks.cache`` is made of: contenders, what is measured of them, and how it is told.

A file per kind of figure: ``trips``, ``cold``, ``hot``, ``killed``, ``silent``, ``pages``, ``drops``. All but the last
two ask a contender's application without a server, in processes of its own (``worker``).
"""
