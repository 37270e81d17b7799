"""What ``python -m benchmarks.locks`` is made of: contenders, what is measured of them, and how it is told."""
