"""RankBench's policies: every rule that gives or moves rank, by key. Torch-free; docs/rankbench.md adds one."""

from __future__ import annotations

import difflib
from pathlib import Path

from flexlora.errors import FlexLoRAError
from flexlora.policies.decisions import DECISIONS
from flexlora.policies.files import read_policy
from flexlora.policies.policy import KINDS, Observed, Policy, decided, started
from flexlora.policies.rules import RULES
from flexlora.policies.starts import STARTS

__all__ = ["BUILT_IN", "KINDS", "POLICIES", "Observed", "Policy", "decided", "find_policy", "load_policy", "started"]

POLICIES: dict[str, Policy] = {**DECISIONS, **RULES, **STARTS}
"""Key → policy; ``load_policy`` adds those of files."""

BUILT_IN = frozenset(POLICIES)
"""Keys of the policies that come with this package."""


def find_policy(key: str) -> Policy:
    """Return a policy by its key.

    Raises:
        FlexLoRAError: there is none; the message names all.
    """
    if not isinstance(key, str):
        raise FlexLoRAError(f"policy={key!r} is not a name. Choose one of: {', '.join(POLICIES)}.")
    if key in POLICIES:
        return POLICIES[key]
    close = difflib.get_close_matches(key, POLICIES, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise FlexLoRAError(
        f"Unknown policy {key!r}.{hint} Choose one of: {', '.join(POLICIES)}; or give a file of your own: --policy "
        "FILE.py (also to resume a run that was made with one)."
    )


def load_policy(text: str | Path) -> Policy:
    """Return the policy of a key or of a file ``NAME.py``, which is run and added to ``POLICIES``.

    Raises:
        FlexLoRAError: an unknown key, or a file that gives no policy or one whose name is taken.
    """
    if not str(text).endswith(".py"):
        return find_policy(str(text))
    policy = read_policy(Path(text))
    if policy.key in BUILT_IN:
        raise FlexLoRAError(f"{text} is called like the policy {policy.key} of this package. Rename the file.")
    POLICIES[policy.key] = policy
    return policy
