"""A class on one server: who is in it, what its leader shows, what it answers."""
