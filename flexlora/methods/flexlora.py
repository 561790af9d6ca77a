"""FlexLoRA (ICLR 2026): ΔW = s · P diag(λ) Q with λ = 0 and Gaussian P, Q at the start."""

from __future__ import annotations

from flexlora.adapter import attach

__all__ = ["attach"]
