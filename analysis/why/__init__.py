"""Why: every decision of every event explained for every matrix, in numbers of the log."""

from analysis.why.card import why_card, why_cards, why_event

__all__ = ["why_card", "why_cards", "why_event"]
