"""Zips: what comes out lies below the folder, is whole, and cannot fill the disk."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.adapters import AdapterError, open_adapter
from analysis.adapters import zips as own_zips
from analysis.adapters.files import CONFIG, WEIGHTS
from analysis.adapters.zips import unpack, zip_names

HEAD = struct.pack("<Q", 2) + b"{}"
PART = st.sampled_from(["a", "b", "..", ".", "", "c\\..", " "])


def packed(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer


@given(st.lists(st.lists(PART, max_size=4), min_size=1, max_size=4))
def test_nothing_leads_out_of_the_folder_and_nothing_is_lost(tmp_path_factory, folders):
    members = [("/".join([*folder, f"{number}.safetensors"]), HEAD) for number, folder in enumerate(folders)]
    outer = tmp_path_factory.mktemp("zip")
    unpack(packed(members), "a.zip", outer / "in")
    written = [path for path in outer.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(outer / "in") for path in written)
    assert len(written) == len(members)
    assert sorted(path.relative_to(outer / "in").as_posix() for path in written) == sorted(
        zip_names(packed(members), "a.zip")
    )


def encrypted():
    content = bytearray(packed([(WEIGHTS, HEAD)]).getvalue())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    return content


def damaged():
    content = bytearray(packed([(WEIGHTS, HEAD + bytes(range(256)))]).getvalue())
    content[60:90] = b"\xff" * 30
    return content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (encrypted(), "is encrypted"),
        (damaged(), "cannot be unpacked"),
        (packed([(WEIGHTS, HEAD), (CONFIG, "{}")]).getvalue()[:-40], "cannot be unpacked"),
        (packed([("x" * 300 + f"/{WEIGHTS}", HEAD), (WEIGHTS, HEAD)]).getvalue(), "at most 255 bytes"),
        (packed([(f"../{WEIGHTS}", HEAD), (WEIGHTS, HEAD)]).getvalue(), "twice"),
        (packed([(WEIGHTS, bytes(range(1, 256)) * 9)]).getvalue(), "first bytes"),
        (packed([("a.safetensors", b"\0" * 500)]).getvalue(), "holds only zeros"),
        (packed([(WEIGHTS, HEAD + b"\0" * 3000)]).getvalue(), "more than 20 times"),
        (packed([(WEIGHTS, HEAD), (CONFIG, "{")]).getvalue(), r"in a\.zip|adapter_config\.json cannot be read"),
    ],
)
def test_what_cannot_be_unpacked_is_told_in_one_line_and_leaves_nothing(tmp_path, monkeypatch, content, says):
    monkeypatch.setattr(own_zips, "SMALL", 2000)
    monkeypatch.setattr(own_zips, "MOST_RATIO", 20)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(AdapterError, match=says) as caught:
        open_adapter(tmp_path / "a.zip")
    assert str(tmp_path) not in str(caught.value) and len(str(caught.value)) < 300
    assert not any((tmp_path / "t").iterdir())


def test_what_macos_puts_beside_is_left_out(tmp_path):
    members = [(f"{folder}a/{WEIGHTS}", HEAD) for folder in ("", "__MACOSX/")]
    (tmp_path / "a.zip").write_bytes(packed([*members, ("__MACOSX/a/._x.safetensors", "")]).getvalue())
    assert zip_names(tmp_path / "a.zip", "a.zip") == [WEIGHTS]
