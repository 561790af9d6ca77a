"""The Lab's pages and the console command; installed as ``flexlora_lab``."""
