"""Independent programs as players: they speak GTP 2 or UCI over standard input and output."""
