"""Our players as engines for other programs: GTP, UCI, and analysis as lines of JSON."""
