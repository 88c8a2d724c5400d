"""A trained model behind HTTP, with batches, limits, metrics and logs.

A ``Service`` (images, texts or moves) turns requests into inputs, and results into JSON. ``app``
adds a queue, error answers, a health check and metrics; ``server`` runs the application in this
process, ``scale`` in several processes with Ray Serve; ``main`` chooses between the two.
"""
