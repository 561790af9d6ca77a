"""Data files as people have them: every format and layout reads alike, and what cannot be read is told by its place."""

from __future__ import annotations

import csv
import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.tasks.columns import text_roles
from flexlora.tasks.labelled import labelled_tables
from flexlora.tasks.labels import label_name
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_rows, read_table
from flexlora.tasks.text import read_examples

SIGNS = {"comma": ",", "semicolon": ";", "pipe": "|"}


def separated(table, sign, header=True):
    """As a CSV writer does it: quotes where they must be, lines may end within them."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sign)
    writer.writerows([list(table.columns)] if header else [])
    writer.writerows(table.to_numpy().tolist())
    return out.getvalue()


def plain(table, header=True):
    """As GLUE does it: tabs, and a quote is a letter."""
    rows = [*([list(table.columns)] if header else []), *table.to_numpy().tolist()]
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def lines_of(table):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_dict("records"))


TEXT_FORMATS = {
    "comma.csv": lambda table: separated(table, ","),
    "semicolon.csv": lambda table: separated(table, ";"),
    "pipe.csv": lambda table: separated(table, "|"),
    "jsonl": lines_of,
    "json": lambda table: json.dumps(table.to_dict("records")),
    "columns.json": lambda table: json.dumps(table.to_dict("list")),
    "nested.json": lambda table: json.dumps({"version": 1, "data": table.to_dict("records")}),
    "lines.json": lines_of,
}
LAYOUTS = {
    "one file": ["{}.{}"],
    "shards": ["{}-00000-of-00003.{}", "{}-00001-of-00003.{}", "{}-00002-of-00003.{}"],
    "numbers": ["{}-9.{}", "{}-10.{}", "{}-11.{}"],
    "data folder": ["data/{}-00000-of-00002.{}", "data/{}-00001-of-00002.{}"],
    "split folder": ["{}/0000.{}", "{}/0001.{}"],
}
LETTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff")
TEXTS = st.text(LETTERS, min_size=1, max_size=12).filter(str.strip)
CLASSES = (st.integers(0, 4), st.sampled_from(["pos", "neg", "none", "so so", "très bien", "a;b"]))
SCORES = st.floats(-4, 4).map(lambda score: round(score, 3))


@st.composite
def tables(draw, texts=TEXTS):
    labels = draw(st.one_of(*(st.lists(kind, min_size=6, max_size=6) for kind in (*CLASSES, SCORES, st.booleans()))))
    negative = {label for label in labels if not isinstance(label, str) and label < 0}
    assume(not negative or negative != {-1})
    count, pair = len(labels), draw(st.booleans())
    columns = {"sentence1": texts, "sentence2": texts} if pair else {"sentence": texts}
    drawn = {name: draw(st.lists(kind, min_size=count, max_size=count)) for name, kind in columns.items()}
    return pd.DataFrame({**drawn, "label": pd.Series(labels, dtype=object)})


def write(folder, layout, suffix, table, save):
    """Write a table as the train split, cut into as many files as the layout has."""
    names = LAYOUTS[layout]
    for name, part in zip(names, np.array_split(np.arange(len(table)), len(names)), strict=True):
        path = folder / name.format("train", suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, table.iloc[part].reset_index(drop=True))


def examples(folder, **options):
    source = SourceOptions(data=str(folder), **options)
    found, told = labelled_tables(read_rows(source), source, text_roles, ("text0", "text1"))
    train = found["train"]
    texts = train[[name for name in train.columns if name.startswith("text")]].to_numpy().tolist()
    return texts, [label_name(label) for label in train["label"]], told


def expected(table):
    return table[[name for name in table.columns if name != "label"]].to_numpy().tolist(), list(
        map(label_name, table["label"].tolist())
    )


@given(tables(), st.sampled_from(sorted(LAYOUTS)), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
@settings(max_examples=40)
def test_every_format_and_layout_holds_the_same_examples(tmp_path_factory, table, layout, encoding):
    wanted = expected(table)
    root = tmp_path_factory.mktemp("alike")
    for kind, text_of in TEXT_FORMATS.items():
        folder, suffix = root / kind, kind.rpartition(".")[2]
        write(folder, layout, suffix, table, lambda path, part, text_of=text_of: path.write_bytes(
            text_of(part).encode(encoding)))  # fmt: skip
        assert (*wanted, []) == examples(folder), kind
    write(root / "parquet", layout, "parquet", table.infer_objects(), lambda path, part: part.to_parquet(path))
    assert (*wanted, []) == examples(root / "parquet")


# A tab within quotes cannot be told from one without where every other row fits too: see docs/data.md.
@given(tables(TEXTS.map(lambda text: text.replace("\t", " ")).filter(str.strip)))
@settings(max_examples=30)
def test_a_tab_separated_file_of_a_csv_writer_is_read_with_its_quotes(tmp_path_factory, table):
    assume(any(mark in text for mark in '\n\r"' for text in table.iloc[:, 0]))
    folder = tmp_path_factory.mktemp("quoted")
    (folder / "train.tsv").write_text(separated(table, "\t"), encoding="utf-8", newline="")
    assert (*expected(table), []) == examples(folder)


GLUE = TEXTS.map(lambda text: text.translate(dict.fromkeys(map(ord, "\t\n\r")))).filter(str.strip)


@given(tables(GLUE.filter(lambda text: '""' not in text)), st.booleans())
def test_a_tab_separated_file_without_quoting_keeps_every_letter(tmp_path_factory, table, header):
    folder = tmp_path_factory.mktemp("plain")
    (folder / "train.tsv").write_text(plain(table, header), encoding="utf-8", newline="")
    # A first example that looks like a header is refused: nothing here has a label that is one of a kind and a word.
    assume(header or table["label"].map(lambda label: not isinstance(label, str | bool)).all())
    assert (*expected(table), []) == examples(folder, **({} if header else {"columns": tuple(table.columns)}))


@given(tables(GLUE), st.sampled_from(sorted(SIGNS)))
@settings(max_examples=25)
def test_columns_picks_by_name_with_a_header_and_names_by_position_without(tmp_path_factory, table, called):
    assume(table["label"].map(lambda label: not isinstance(label, str | bool)).all())
    other = table.rename(columns={"sentence": "review", "sentence1": "left", "sentence2": "right", "label": "stars"})
    named = tuple(other.columns)
    other.insert(0, "id", range(len(other)))
    for header in (True, False):
        folder = tmp_path_factory.mktemp("columns")
        (folder / "train.csv").write_text(separated(other, SIGNS[called], header), encoding="utf-8", newline="")
        columns = named if header else ("-", *named)
        assert (*expected(table), []) == examples(folder, columns=columns, delimiter=called)
    folder = tmp_path_factory.mktemp("lines")
    (folder / "train.jsonl").write_text(lines_of(other), encoding="utf-8")
    assert (*expected(table), []) == examples(folder, columns=named)


ROWS = [(f"the film was {'good' if n % 2 else 'bad'} number {n}", n % 2) for n in range(40)]
OBJECTS = [{"sentence": text, "label": label} for text, label in ROWS]


def rows_text(rows=ROWS, head="sentence\tlabel", sign="\t"):
    return (head + "\n" if head else "") + "".join(sign.join(map(str, row)) + "\n" for row in rows)


def objects(change, rows=(3,)):
    return "".join(json.dumps({**row, **(change if n in rows else {})}) + "\n" for n, row in enumerate(OBJECTS))


def without(key, row=3):
    return "".join(
        json.dumps({k: v for k, v in item.items() if n != row or k != key}) + "\n" for n, item in enumerate(OBJECTS)
    )


def parquet(rows):
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out)
    return out.getvalue()


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def replaced(column, value, row=3):
    place = ("sentence", "label").index(column)
    return [tuple(value if n == row and k == place else cell for k, cell in enumerate(pair))
            for n, pair in enumerate(ROWS)]  # fmt: skip


MISSING_LABELS = {
    **{f"tsv {word!r}": {"train.tsv": rows_text(replaced("label", word))}
       for word in ("", "NaN", "nan", "null", "NULL", "None", "NA", "N/A", "n/a", "<NA>", "-", "-1", "-1.0", "  ")},
    "csv": {"train.csv": rows_text(replaced("label", ""), "sentence,label", ",")},
    "jsonl no key": {"train.jsonl": without("label")},
    "jsonl null": {"train.jsonl": objects({"label": None})},
    "jsonl NaN": {"train.jsonl": objects({"label": float("nan")})},
    "jsonl empty": {"train.jsonl": objects({"label": ""})},
    "jsonl -1": {"train.jsonl": objects({"label": -1})},
    "json null": {"train.json": json.dumps([{**row, "label": None if n == 3 else row["label"]}
                                            for n, row in enumerate(OBJECTS)])},
    "parquet null": {"train.parquet": parquet([{**row, "label": None if n == 3 else row["label"]}
                                               for n, row in enumerate(OBJECTS)])},
    "parquet -1": {"train.parquet": parquet([{**row, "label": -1 if n == 3 else row["label"]}
                                             for n, row in enumerate(OBJECTS)])},
}  # fmt: skip
MISSING_TEXTS = {
    "tsv empty": {"train.tsv": rows_text(replaced("sentence", ""))},
    "tsv spaces": {"train.tsv": rows_text(replaced("sentence", "  "))},
    "jsonl null": {"train.jsonl": objects({"sentence": None})},
    "jsonl NaN": {"train.jsonl": objects({"sentence": float("nan")})},
    "jsonl empty": {"train.jsonl": objects({"sentence": ""})},
    "jsonl no key": {"train.jsonl": without("sentence")},
    "parquet null": {"train.parquet": parquet([{**row, "sentence": None if n == 3 else row["sentence"]}
                                               for n, row in enumerate(OBJECTS)])},
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING_LABELS)
def test_a_row_without_a_label_is_left_out_and_counted_in_every_format(case, tmp_path):
    texts, labels, told = examples(put(tmp_path, MISSING_LABELS[case]))
    assert texts == [[text] for n, (text, _) in enumerate(ROWS) if n != 3]
    assert labels == [str(label) for n, (_, label) in enumerate(ROWS) if n != 3]
    assert len(told) == 1 and told[0].startswith("train: 1 of 40 rows left out: no label (")


@pytest.mark.parametrize("case", MISSING_TEXTS)
def test_a_row_without_text_is_left_out_and_counted_in_every_format(case, tmp_path):
    texts, labels, told = examples(put(tmp_path, MISSING_TEXTS[case]))
    assert (len(texts), len(labels)) == (39, 39) and [ROWS[3][0]] not in texts
    assert told == ["train: 1 of 40 rows left out: a label, but nothing in sentence."]


def test_words_that_look_like_nothing_are_texts_and_classes(tmp_path):
    rows = [("None", "none"), ("null", "NONE"), ("nan", "nil")] * 8
    texts, labels, told = examples(put(tmp_path, {"train.tsv": rows_text(rows)}))
    assert texts == [[text] for text, _ in rows] and labels == [label for _, label in rows] and told == []


def test_minus_one_is_a_score_where_other_scores_are_negative_and_none_in_a_hidden_split(tmp_path):
    scores = [(text, (n % 5 - 2) / 2) for n, (text, _) in enumerate(ROWS)]
    hidden = rows_text([(text, -1) for text, _ in ROWS])
    put(tmp_path, {"train.tsv": rows_text(scores), "test.tsv": hidden})
    tables, labels, told = read_examples(SourceOptions(data=str(tmp_path)))
    assert labels == [] and sorted(set(tables["train"]["label"])) == [-1, -0.5, 0, 0.5, 1]
    assert told == ["test: all 40 rows left out: no label (-1)."] and len(tables["test"]) == len(tables["validation"])


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([(text, " " * (n % 3) + ("pos" if label else "neg") + "\u00a0" * (n % 2)) for n, (text, label) in
          enumerate(ROWS)], ["neg", "pos"]),
        ([(text, float(label)) for text, label in ROWS], ["0", "1"]),
        ([(text, 2 * label - 1) for text, label in ROWS], ["1", "-1"]),
        ([(text, "\u200b1\ufeff" if label and n % 3 else label) for n, (text, label) in enumerate(ROWS)], ["0", "1"]),
        ([(text, bool(label)) for text, label in ROWS], ["True", "False"]),
        ([(text, f"{label}.0" if n % 2 else label) for n, (text, label) in enumerate(ROWS)], ["0", "1"]),
    ],
)  # fmt: skip
def test_labels_are_classes_however_they_are_written(rows, names, tmp_path):
    folders = [put(tmp_path / "tsv", {"train.tsv": rows_text(rows)})]
    lines = "".join(json.dumps({" sentence": text, "label ": label}) + "\n" for text, label in rows)
    folders.append(put(tmp_path / "jsonl", {"train.jsonl": lines}))
    for folder in folders:
        assert read_examples(SourceOptions(data=str(folder)))[1] == names


def test_imbalance_and_classes_of_one_row_are_told(tmp_path):
    rows = [(text, "rare" if n == 5 else "odd" if n in (7, 9) else "usual") for n, (text, _) in enumerate(ROWS)]
    put(tmp_path, {"train.tsv": rows_text(rows), "dev.tsv": rows_text(rows[4:8])})
    told = read_examples(SourceOptions(data=str(tmp_path)))[2]
    assert told == [
        "train: 92.5 % of its rows have label usual: always answering that is right as often.",
        "train: one row only has label rare.",
    ]


def test_classes_that_differ_in_case_alone_are_told_and_a_mark_of_excel_is_not_a_row(tmp_path):
    rows = [(text, ("yes", "Yes", "no")[n % 3]) for n, (text, _) in enumerate(ROWS)]
    put(tmp_path, {"train.csv": "sep=;\r\n" + rows_text(rows, "sentence;label", ";")})
    tables, labels, told = read_examples(SourceOptions(data=str(tmp_path)))
    assert labels == ["no", "Yes", "yes"] and len(tables["train"]) + len(tables["validation"]) == 40
    assert told == ["train: labels 'Yes' and 'yes' differ in case or spacing only, and are classes of their own."]


def test_lines_are_those_of_the_file_where_fields_go_over_several(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text('sentence,label\r\n"one\r\ntwo",1\r\n\r\nthree,0\r\nfour,inf\r\n', newline="")
    assert read_table(path)["sentence"].tolist() == ["one\r\ntwo", "three", "four"]
    with pytest.raises(FlexLoRAError, match=r"train\.csv, line 6 \(row 4\), column label: inf is no finite score"):
        examples(tmp_path)


def test_spaces_behind_each_delimiter_of_a_header_are_dropped_everywhere_and_others_are_kept(tmp_path):
    table = [["a, b"], ["c"]]
    spaced = put(tmp_path / "spaced", {"train.csv": 'sentence, label\n"a, b", "1"\nc, 0\n'})
    assert examples(spaced) == (table, ["1", "0"], [])
    turned = put(tmp_path / "turned", {"train.csv": 'label, sentence\n1, "a, b"\n0, c\n'})
    assert examples(turned) == (table, ["1", "0"], [])
    kept = put(tmp_path / "kept", {"train.csv": "1, c\n0,d\n"})
    assert examples(kept, columns=("label", "sentence")) == ([[" c"], ["d"]], ["1", "0"], [])


def test_shards_in_a_folder_of_a_split_are_in_order_of_their_numbers(tmp_path):
    put(tmp_path, {f"data/train/part-{n}.csv": f"text,label\nrow {n},{n}\n" for n in (10, 9, 2)})
    assert examples(tmp_path)[0] == [["row 2"], ["row 9"], ["row 10"]]


def test_numbers_with_a_gap_stay_whole_as_texts(tmp_path):
    rows = [{"text": number, "label": number} for number in (3, None, 5)]
    for name, content in (
        ("a.parquet", parquet(pd.DataFrame(rows, dtype="Int64"))),
        ("b.jsonl", json.dumps(rows[0]) + "\n" + json.dumps(rows[2])),
    ):
        folder = put(tmp_path / name[0], {f"train{name[1:]}": content})
        assert examples(folder)[:2] == ([["3"], ["5"]], ["3", "5"])


def test_rows_of_the_datasets_library_are_read_by_the_same_rules(monkeypatch):
    datasets = pytest.importorskip("datasets")
    rows = pd.DataFrame([{"review": text, "stars": None if n == 3 else label} for n, (text, label) in enumerate(ROWS)])
    loaded = datasets.DatasetDict({"train": datasets.Dataset.from_pandas(rows)})
    monkeypatch.setattr(datasets, "load_dataset", lambda name, subset: loaded)
    texts, labels, told = examples("someone/reviews", columns=("review", "stars"))
    assert len(texts) == 39 and set(labels) == {"0", "1"}
    assert told == ["train: 1 of 40 rows left out: no label (null)."]
    with pytest.raises(FlexLoRAError, match="data=someone/reviews: train split has no column comment; it has: review"):
        examples("someone/reviews", columns=("comment", "stars"))


def test_a_split_without_a_label_column_is_told_and_not_scored(tmp_path):
    put(tmp_path, {"train.tsv": rows_text(), "test.tsv": "index\tsentence\n0\ta\n1\tb\n"})
    tables, _, told = read_examples(SourceOptions(data=str(tmp_path)))
    assert told == ["test: test.tsv has no label column, so it is not scored."]
    assert tables["test"].equals(tables["validation"])


HALF = parquet(OBJECTS[:20])
WIDE = "id,review,sentiment\n" + "".join(f"{n},{text},{label}\n" for n, (text, label) in enumerate(ROWS))
BAD: dict[str, tuple[dict[str, str | bytes], dict[str, object], list[str]]] = {
    "empty file": ({"train.tsv": ""}, {}, ["train.tsv has no rows"]),
    "only a mark": ({"train.csv": b"\xef\xbb\xbf"}, {}, ["train.csv has no rows"]),
    "empty list": ({"train.json": "[]"}, {}, ["train.json has no rows"]),
    "no row of Parquet": ({"train.parquet": parquet({"sentence": [], "label": []})}, {}, ["has no rows"]),
    "a file": ({"train.tsv": rows_text()}, {"data": "train.tsv"}, ["is a file", "folder"]),
    "Latin-1": ({"train.csv": b"sentence,label\na,1\ncaf\xe9,0\n"}, {}, ["train.csv", "line 3", "not UTF-8", "0xe9"]),
    "UTF-16 without mark": ({"train.tsv": rows_text().encode("utf-16-le")}, {}, ["line 1", "NUL", "UTF-8"]),
    "no label column": ({"train.tsv": "sentence\na\nb\n"}, {}, ["train.tsv has no label column; found: sentence"]),
    "no text column": ({"train.jsonl": '{"words": "a", "label": 1}\n'}, {}, ["columns words, label", "no text among"]),
    "repeated header": ({"train.tsv": "sentence\tlabel\tlabel\na\t1\t0\n"}, {}, ["more than one column label"]),
    "repeated key": ({"train.jsonl": objects({}) + '{"label": 1, "label": 0}\n'}, {}, ["line 41", "twice", "label"]),
    "repeated after stripping": ({"train.jsonl": '{"label": 1, " label": 0}\n'}, {}, ["line 1", "twice"]),
    "short row": ({"train.csv": 'sentence,label\n"a\nb",1\nc\n'}, {}, ["line 4: row 3 has fewer than 2 columns"]),
    "long row": ({"train.csv": "sentence,label\na,1\nb, c,0\n"}, {}, ["line 3", "3 columns", "comma", "in quotes"]),
    "open quote": ({"train.csv": 'sentence,label\na,1\n"b,0\nc,1\n'}, {}, ["train.csv", "line 3", "bad quotes"]),
    "backslash": ({"train.csv": 'sentence,label\n"a \\"b\\" c",1\n'}, {}, ["line 2", "bad quotes", "doubled"]),
    "two delimiters": ({"train.csv": rows_text([(f"{t}, x", n) for t, n in ROWS], None, ";")},
                       {"columns": ("a", "b")}, ["comma", "semicolon", "delimiter="]),
    "wrong delimiter": ({"train.csv": rows_text(sign=";", head="sentence;label")}, {"delimiter": "tab"},
                        ["columns sentence;label", "no text among them"]),
    "other header": ({"train.tsv": rows_text(head="review\tsentiment")}, {"columns": ("sentence", "label")},
                     ["line 1 is a header without sentence, label", "review, sentiment"]),
    "one name wrong": ({"train.csv": WIDE}, {"columns": ("comment", "sentiment")},
                       ["train.csv has no column comment", "it has: id, review, sentiment"]),
    "label name wrong": ({"train.csv": WIDE}, {"columns": ("review", "mood")},
                         ["no label column; found: id, review, sentiment", "review, mood"]),
    "keys without the name": ({"train.jsonl": objects({})}, {"columns": ("review", "label")},
                              ["train.jsonl has no column review", "it has: sentence, label"]),
    "a header of numbers": ({"train.csv": rows_text(head="0,1", sign=",")}, {"columns": ("text", "label")},
                            ["line 1 is a header without text, label", "0, 1"]),
    "a header in the middle": ({"train.csv": rows_text(sign=",", head="text,label") + "text,label\na,1\n"}, {},
                               ["line 42 repeats the header"]),
    "no name": ({"train.csv": WIDE}, {"columns": ("-",)}, ["columns=- leaves every column out"]),
    "a text less": ({"train.tsv": rows_text([(t, t, n) for t, n in ROWS], "question\tsentence\tlabel"),
                     "dev.tsv": rows_text()}, {}, ["dev.tsv has sentence", "question and sentence"]),
    "too many names": ({"train.csv": WIDE}, {"columns": ("id", "review", "x", "sentiment")}, ["3 texts", "sentiment"]),
    "a name twice": ({"train.csv": WIDE}, {"columns": ("review", "review")}, ["columns=review,review", "twice"]),
    "broken line": ({"train.jsonl": objects({}) + "{oops\n"}, {}, ["train.jsonl", "line 41, character 2"]),
    "a list a line": ({"train.jsonl": '["a", 1]\n["b", 0]\n'}, {}, ["line 1", "['a', 1]", "not an object"]),
    "broken JSON": ({"train.json": json.dumps(OBJECTS, indent=1)[:-30]}, {}, ["train.json", "line 159"]),
    "a number": ({"train.json": "3"}, {}, ["line 1 is 3, not an object"]),
    "unequal columns": ({"train.json": '{"sentence": ["a", "b"], "label": [1]}'}, {}, ["sentence: 2, label: 1"]),
    "no Parquet": ({"train.parquet": "hello"}, {}, ["train.parquet cannot be read"]),
    "list as text": ({"train.jsonl": objects({"sentence": ["a"]})}, {}, ["line 4, column sentence", "['a']"]),
    "array as text": ({"train.parquet": parquet([{"sentence": text.split(), "label": n} for text, n in ROWS])}, {},
                      ["train.parquet, row 1, column sentence", "no text"]),
    "bytes as text": ({"train.parquet": parquet([{"sentence": b"a", "label": 1}])}, {}, ["row 1", "bytes", "no text"]),
    "object as text": ({"train.json": json.dumps([{"sentence": {"en": "a"}, "label": 1}])}, {},
                       ["train.json, item 1, column sentence", "no text"]),
    "half a character": ({"train.jsonl": objects({"sentence": "a\ud83d"})}, {}, ["line 4", "sentence", "surrogate"]),
    "list as label": ({"train.jsonl": objects({"label": [1]})}, {}, ["line 4, column label", "[1] is no label"]),
    "truth among numbers": ({"train.jsonl": objects({"label": True})}, {}, ["line 4, column label", "True"]),
    "infinite score": ({"train.tsv": rows_text([(t, "inf" if n == 5 else n / 7) for n, (t, _) in enumerate(ROWS)])},
                       {}, ["train.tsv, line 7, column label", "inf is no finite score"]),
    "infinite in JSON": ({"train.jsonl": objects({"label": float("-inf")})}, {}, ["line 4, column label", "-inf"]),
    "score beyond float32": ({"train.tsv": rows_text(replaced("label", "1e300"))}, {}, ["line 5", "no finite score"]),
    "word among scores": ({"train.tsv": rows_text([(t, "bad" if n == 5 else n / 7) for n, (t, _) in enumerate(ROWS)])},
                          {}, ["train.tsv, line 7, column label", "'bad' is no number", "scores"]),
    "decimal comma": ({"train.csv": rows_text([(t, f"0,{n}") for n, (t, _) in enumerate(ROWS)], "text;score", ";")},
                      {}, ["train.csv, line 2, column score", "'0,0'", "decimal point"]),
    "words beside scores": ({"train.tsv": rows_text([(t, n / 7) for n, (t, _) in enumerate(ROWS)]),
                             "dev.tsv": rows_text([("a", "good"), ("b", "bad")])},
                            {}, ["dev.tsv, line 2, column label", "'good' is no number", "train has scores"]),
    "label of test alone": ({"train.tsv": rows_text(), "test.jsonl": objects({"label": 7})}, {},
                            ["test split has labels that train does not have: 7", "test.jsonl, line 4", "0, 1"]),
    "label held out alone": ({"train.tsv": rows_text([("x", "odd") if n == 7 else (t, f"c{k}")
                                                      for n, (t, k) in enumerate(ROWS)])},
                             {}, ["validation split", "odd", "line 9, held out"]),
    "one label left": ({"train.tsv": rows_text([(t, 6 * n - 1) for t, n in ROWS])}, {},
                       ["one label only (5)", "20 of 40 rows left out: no label (-1)", "write it as a word"]),
    "gzip": ({"train.csv": gzip.compress(rows_text().encode())}, {}, ["train.csv is compressed (gzip). Unpack it"]),
    "spreadsheet": ({"train.tsv": b"PK\x03\x04" + bytes(40)}, {}, ["is compressed (zip)"]),
    "suffix of an archive": ({"train.csv.gz": b"\x1f\x8b"}, {}, ["it holds: train.csv.gz. Unpack"]),
    "pointer": ({"train.jsonl": "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1234\n"}, {},
                ["a Git LFS pointer, not the file itself (1,234 bytes)", "git lfs pull"]),
    "page": ({"train.csv": "<!DOCTYPE html>\n<html><body>404</body></html>\n"}, {}, ["train.csv is a web page"]),
    "no label at all": ({"train.tsv": rows_text([(t, "nan") for t, _ in ROWS])}, {},
                        ["no labelled row in its train split", "all 40 rows left out: no label (nan)"]),
    "no text at all": ({"train.tsv": rows_text([("", n) for _, n in ROWS])}, {}, ["nothing in sentence"]),
    "missing shard": ({"data/train-00000-of-00002.parquet": HALF}, {}, ["1 of 2 shards", "number 1 is missing"]),
    "shards and a file": ({"train.tsv": rows_text(), "train-1.tsv": rows_text()}, {}, ["more than one train file"]),
    "shards of two columns": ({"train-0.csv": "text,label\na,1\n", "train-1.csv": "words,label\nb,0\n"}, {},
                              ["train-1.csv has columns words, label", "train-0.csv has text, label"]),
    "two splits by name": ({"train-dev.tsv": rows_text()}, {}, ["train-dev.tsv could be train or validation"]),
    "two formats in a folder": ({"train/0.csv": "text,label\na,1\n", "train/1.jsonl": objects({})}, {},
                                ["several formats", "0.csv, 1.jsonl"]),
    "no split": ({"README.md": "", "sst2/train.tsv": rows_text()}, {}, ["no train, validation or test file", "sst2"]),
    "no train": ({"test.tsv": rows_text()}, {}, ["no train split; found: test"]),
}  # fmt: skip


def test_many_rows_of_minus_one_among_other_classes_are_told_with_what_to_do(tmp_path):
    put(tmp_path, {"train.tsv": rows_text([(text, n % 3 - 1) for n, (text, _) in enumerate(ROWS)])})
    _, labels, told = read_examples(SourceOptions(data=str(tmp_path)))
    assert labels == ["0", "1"] and "train: 14 of 40 rows left out: no label (-1). If −1 is a class," in told[0]


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_by_file_row_and_column(case, tmp_path):
    files, options, words = BAD[case]
    put(tmp_path, files)
    data = str(tmp_path / str(options.get("data", "")))
    columns, delimiter = options.get("columns"), options.get("delimiter")
    with pytest.raises(FlexLoRAError) as told:
        read_examples(SourceOptions(data=data, columns=columns, delimiter=delimiter))  # type: ignore[arg-type]
    for word in words:
        assert word in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_delimiter_is_refused_with_those_that_are_known():
    with pytest.raises(FlexLoRAError, match=r"Unknown delimiter 'space'.*tab, comma, semicolon, pipe"):
        build_job("text", settings={"delimiter": "space"})
