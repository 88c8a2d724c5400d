"""Supervised training and the search for settings, as commands run them."""
