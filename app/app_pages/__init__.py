"""The pages: thin, one module each."""
