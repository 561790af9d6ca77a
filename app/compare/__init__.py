"""Compare: studies and sets of runs held against each other, and studies made from the page."""
