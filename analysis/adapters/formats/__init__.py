"""The formats in which adapters are stored: one table, one file each, one record for what they hold."""
