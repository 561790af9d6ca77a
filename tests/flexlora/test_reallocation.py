"""The plan, against a brute-force statement of its rule."""

from __future__ import annotations

import copy
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.errors import FlexLoRAError
from flexlora.reallocation import PLANS, Reallocation, plan_overlapping, plan_reallocation

scores = st.one_of(
    st.none(),
    st.sampled_from([0.0, 0.25, 0.5, 0.5 + 1e-12, 1.0, math.inf, math.nan]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1e300),
)


@st.composite
def requests(draw):
    names = draw(st.lists(st.text("abcdefgh.", min_size=1, max_size=4), max_size=12, unique=True))
    limits = st.one_of(st.none(), st.integers(1, 5), st.fixed_dictionaries({name: st.integers(1, 5) for name in names}))
    return {
        "importance": {name: draw(scores) for name in names},
        "ranks": {name: draw(st.integers(1, 5)) for name in names},
        "budget": draw(st.integers(0, 8)),
        "max_rank": draw(limits),
        "protected": frozenset(draw(st.sets(st.sampled_from(names)))) if names else frozenset(),
        "tie_order": draw(st.one_of(st.none(), st.permutations(names))),
    }


directions = st.sampled_from(["both", "prune_only", "extend_only"])


def limit_of(request, name):
    limit = request["max_rank"]
    limit = limit[name] if isinstance(limit, dict) else limit
    return math.inf if limit is None else limit


def score_of(request, name):
    value = request["importance"][name]
    return None if value is None or math.isnan(value) else round(value, 9)


def candidates(request):
    """The two candidate lists, straight from the rule."""
    order = list(request["importance"]) if request["tie_order"] is None else list(request["tie_order"])
    defined = [name for name in order if score_of(request, name) is not None]
    ascending = sorted(defined, key=lambda name: (score_of(request, name), order.index(name)))
    ranks = request["ranks"]
    givers = [name for name in ascending if ranks[name] > 1 and name not in request["protected"]]
    takers = [name for name in reversed(ascending) if ranks[name] < limit_of(request, name)]
    return givers, takers


def brute_force(request, direction):
    givers, takers = candidates(request)
    budget = request["budget"]
    if direction == "prune_only":
        return givers[:budget], []
    if direction == "extend_only":
        return [], takers[:budget]
    fitting = []
    for k in range(budget + 1):
        prune, extend = givers[:k], takers[:k]
        below = all(score_of(request, low) < score_of(request, high) for low in prune for high in extend)
        if len(prune) == len(extend) == k and not set(prune) & set(extend) and below:
            fitting.append((prune, extend))
    return fitting[-1]


@given(requests(), directions)
def test_the_plan_is_the_brute_force_statement_of_its_rule(request_, direction):
    plan = plan_reallocation(**request_, direction=direction)
    assert (list(plan.prune), list(plan.extend)) == brute_force(request_, direction)


@given(requests(), directions)
def test_every_plan_obeys_the_limits(request_, direction):
    ranks = request_["ranks"]
    for make in PLANS.values():
        plan = make(**request_, direction=direction)
        assert max(len(plan.prune), len(plan.extend)) <= request_["budget"]
        assert len(set(plan.prune)) == len(plan.prune)
        assert len(set(plan.extend)) == len(plan.extend)
        assert all(ranks[name] > 1 and name not in request_["protected"] for name in plan.prune)
        assert all(ranks[name] < limit_of(request_, name) for name in plan.extend)
        assert all(score_of(request_, name) is not None for name in (*plan.prune, *plan.extend))


@given(requests())
def test_moving_both_ways_conserves_total_rank_and_never_overlaps(request_):
    plan = plan_reallocation(**request_)
    assert len(plan.prune) == len(plan.extend)
    assert not set(plan.prune) & set(plan.extend)


@given(requests(), directions)
def test_plans_are_repeatable_and_leave_their_arguments_alone(request_, direction):
    before = copy.deepcopy(request_)
    frozen = {**request_, "importance": MappingProxyType(request_["importance"])}
    for make in PLANS.values():
        assert make(**request_, direction=direction) == make(**frozen, direction=direction)
    assert request_ == before


@given(requests(), directions)
def test_without_ties_the_order_of_the_matrices_does_not_matter(request_, direction):
    defined = [score_of(request_, name) for name in request_["importance"]]
    defined = [score for score in defined if score is not None]
    if len(set(defined)) == len(defined):
        backwards = {**request_, "importance": dict(reversed(request_["importance"].items())), "tie_order": None}
        straight = {**request_, "tie_order": None}
        assert plan_reallocation(**straight, direction=direction) == plan_reallocation(**backwards, direction=direction)


@given(requests(), directions)
def test_the_logged_rules_are_those_that_acted(request_, direction):
    plan = plan_reallocation(**request_, direction=direction)
    ranks = request_["ranks"]
    for name, reason in plan.refused.items():
        assert name not in plan.prune or reason == "at_max_rank"
        assert name not in plan.extend or reason in ("rank_1", "protected")
        assert {
            "rank_1": ranks[name] == 1,
            "protected": name in request_["protected"],
            "at_max_rank": ranks[name] >= limit_of(request_, name),
        }[reason]
    assert ("refused" in plan.rules) == bool({"rank_1", "at_max_rank"} & set(plan.refused.values()))
    assert ("protected" in plan.rules) == ("protected" in plan.refused.values())
    undefined = any(score_of(request_, name) is None for name in request_["importance"])
    assert ("undefined" in plan.rules) == (undefined and request_["budget"] > 0)
    if "tie" not in plan.rules:
        order = request_["tie_order"] or list(request_["importance"])
        backwards = {**request_, "tie_order": list(reversed(order))}
        other = plan_reallocation(**backwards, direction=direction)
        assert (set(other.prune), set(other.extend)) == (set(plan.prune), set(plan.extend))


def test_the_paper_rule_where_it_is_well_defined():
    importance = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.3, "e": 0.7}
    plan = plan_reallocation(importance, dict.fromkeys(importance, 4), 2)
    assert plan == Reallocation(prune=("a", "d"), extend=("b", "e"))
    assert plan.rules == ()
    assert plan.budget == 2


def test_equal_importances_move_nothing_and_say_tie():
    importance = dict.fromkeys("abcd", 1.0)
    plan = plan_reallocation(importance, dict.fromkeys("abcd", 4), 2)
    assert (plan.prune, plan.extend, plan.rules) == ((), (), ("tie",))


def test_importances_that_differ_in_the_tenth_decimal_are_a_tie():
    plan = plan_reallocation({"a": 0.5, "b": 0.5 + 1e-10}, {"a": 4, "b": 4}, 1)
    assert (plan.prune, plan.rules) == ((), ("tie",))
    plan = plan_reallocation({"a": 0.5, "b": 0.5 + 2e-9}, {"a": 4, "b": 4}, 1)
    assert (plan.prune, plan.extend) == (("a",), ("b",))


def test_the_tie_order_settles_who_is_chosen():
    importance, ranks = {"a": 0.1, "b": 0.1, "c": 0.9, "d": 0.9}, dict.fromkeys("abcd", 4)
    forward = plan_reallocation(importance, ranks, 1)
    backward = plan_reallocation(importance, ranks, 1, tie_order=["d", "c", "b", "a"])
    assert (forward.prune, forward.extend, forward.rules) == (("a",), ("d",), ("tie",))
    assert (backward.prune, backward.extend, backward.rules) == (("b",), ("c",), ("tie",))


def test_too_few_matrices_stop_where_the_halves_would_meet():
    plan = plan_reallocation({"a": 0.1, "b": 0.5, "c": 0.9}, dict.fromkeys("abc", 4), 2)
    assert (plan.prune, plan.extend, plan.rules) == (("a",), ("c",), ("disjoint",))


def test_matrices_passed_over_are_named_with_the_reason():
    importance = {"low": 0.1, "young": 0.2, "mid": 0.3, "full": 0.9, "high": 0.8}
    ranks = {"low": 1, "young": 4, "mid": 4, "full": 6, "high": 4}
    plan = plan_reallocation(importance, ranks, 1, max_rank=6, protected={"young"})
    assert (plan.prune, plan.extend) == (("mid",), ("high",))
    assert plan.refused == {"low": "rank_1", "young": "protected", "full": "at_max_rank"}
    assert plan.rules == ("protected", "refused")


def test_when_every_matrix_is_full_all_are_named():
    plan = plan_reallocation({"a": 0.1, "b": 0.9}, {"a": 4, "b": 4}, 1, max_rank={"a": 4, "b": 4})
    assert (plan.prune, plan.extend, plan.refused) == ((), (), {"a": "at_max_rank", "b": "at_max_rank"})


def test_a_one_sided_plan_names_nothing_from_the_other_side():
    plan = plan_reallocation({"a": 0.1, "b": 0.9}, {"a": 4, "b": 4}, 1, max_rank=4, direction="prune_only")
    assert (plan.prune, plan.extend, plan.refused) == (("a",), (), {})


def test_infinite_importance_comes_first():
    importance = {"a": 0.1, "b": math.inf, "c": 1.0}
    plan = plan_reallocation(importance, dict.fromkeys("abc", 2), 1)
    assert (plan.prune, plan.extend) == (("a",), ("b",))


@given(requests(), directions)
def test_the_overlapping_plan_takes_each_end_on_its_own(request_, direction):
    givers, takers = candidates(request_)
    plan = plan_overlapping(**request_, direction=direction)
    assert list(plan.prune) == ([] if direction == "extend_only" else givers[: request_["budget"]])
    assert list(plan.extend) == ([] if direction == "prune_only" else takers[: request_["budget"]])


def test_the_overlapping_plan_can_prune_and_extend_one_matrix():
    plan = plan_overlapping({"a": 0.1, "b": 0.5, "c": 0.9}, dict.fromkeys("abc", 4), 2)
    assert set(plan.prune) & set(plan.extend) == {"b"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budget": -1}, "budget=-1 must be at least 0"),
        ({"direction": "sideways"}, "both, prune_only, extend_only"),
        ({"ranks": {"a": 2}}, "ranks does not name 'b'"),
        ({"tie_order": ["a"]}, "tie_order does not name 'b'"),
    ],
)
def test_bad_requests_are_refused_with_what_is_wrong(changes, named):
    request_ = {"importance": {"a": 0.1, "b": 0.2}, "ranks": {"a": 2, "b": 2}, "budget": 1, **changes}
    for make in PLANS.values():
        with pytest.raises(FlexLoRAError, match=named):
            make(**request_)
