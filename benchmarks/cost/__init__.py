"""What a training step costs: shapes, contestants, meters, theory and the table of ``benchmarks/cost.py``."""
