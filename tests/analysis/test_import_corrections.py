"""Corrections of a map by pattern and by module type."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.importers import LogImportError, rows_by_pattern, rows_by_type, type_table


class TestCorrections:
    def rows(self, *names):
        return [
            {"source": n, "name": n, "layer": None, "module_type": n, "in_features": None, "out_features": None}
            for n in names
        ]

    def test_a_pattern_reads_layer_and_type(self):
        rows, count = rows_by_pattern(
            self.rows("blocks_3_q.lora_E", "blocks_12_out_proj.lora_E", "head"), "s_{layer}_{type}."
        )
        assert count == 2
        assert [(row["layer"], row["module_type"]) for row in rows] == [(3, "q"), (12, "out_proj"), (None, "head")]

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("x.{type}", (None, "q_proj")),
            ("{layer}", (7, "h.7.x.q_proj.E")),
            ("h.{layer}.{type}", (7, "x")),
            ("{type}.E", (None, "q_proj")),
        ],
    )
    def test_a_type_ends_at_a_dot_or_at_the_text_after_it(self, pattern, found):
        (row,), _ = rows_by_pattern(self.rows("h.7.x.q_proj.E"), pattern)
        assert (row["layer"], row["module_type"]) == found

    @pytest.mark.parametrize("pattern", ["plain", "{layer}{layer}", "{kind}", "{}", "{layer", ""])
    def test_a_pattern_of_no_use_is_refused(self, pattern):
        with pytest.raises(LogImportError, match="blocks_"):
            rows_by_pattern(self.rows("a"), pattern)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=30), st.text(min_size=1, max_size=30))
    def test_any_pattern_gives_rows_or_one_line(self, pattern, name):
        try:
            rows, count = rows_by_pattern(self.rows(name), pattern)
        except LogImportError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert len(rows) == 1 and count in (0, 1)

    def test_a_type_is_corrected_in_all_its_matrices_and_empty_cells_change_nothing(self):
        rows = [{**row, "module_type": kind} for row, kind in zip(self.rows("a", "b", "c"), "qqv", strict=True)]
        table = type_table(rows)
        assert [(line["found"], line["matrices"]) for line in table] == [("q", 2), ("v", 1)]
        assert rows_by_type(rows, table) == rows
        table[0] |= {"module_type": "query", "in_features": 64, "out_features": float("nan")}
        changed = rows_by_type(rows, table)
        assert [(row["module_type"], row["in_features"], row["out_features"]) for row in changed] == [
            ("query", 64, None), ("query", 64, None), ("v", None, None)
        ]  # fmt: skip
