"""The schedule editor and the panel around it."""
