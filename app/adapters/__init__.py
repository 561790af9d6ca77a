"""Adapters in the app: where they come from, what is shown, what is made smaller."""
