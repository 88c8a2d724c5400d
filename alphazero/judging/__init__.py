"""Players and how they are compared: matches, ladders, mistakes, games in a terminal."""
