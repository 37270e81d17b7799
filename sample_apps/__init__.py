"""One small shop on three frameworks, and the demo that drives them: read ``shop`` for what it does, a face for how."""
