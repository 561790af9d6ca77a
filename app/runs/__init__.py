"""Runs on disk as the app sees them: opening, listing, moving, importing and taking out."""
