"""PEFT's method comparison with error bars: its result files read, told apart, drawn; our runs in its layout."""
