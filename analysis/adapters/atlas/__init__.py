"""What spectra of adapters usually look like."""
