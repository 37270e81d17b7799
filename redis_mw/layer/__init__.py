"""One request's life: ``open`` before the application, ``commit`` before the client sees the end, then ``finish``."""
