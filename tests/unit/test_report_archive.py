"""The file of a report: new, private, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nova_torch.errors import Conflict
from novactl.report.archive import default_name, new_file


def test_its_name_says_when_it_was_made() -> None:
    assert default_name(0.9) == "nova-torch-bugreport-19700101T000000Z.tar.gz"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("force", [False, True])
def test_what_fails_or_is_interrupted_leaves_nothing_of_it(
    tmp_path: Path, error: type[BaseException], force: bool
) -> None:
    def written() -> None:
        with new_file(str(tmp_path / "r"), force=force) as file:
            file.write(b"half")
            raise error

    if force:
        (tmp_path / "r").write_text("old")
    with pytest.raises(error):
        written()
    assert [path.read_text() for path in tmp_path.iterdir()] == (["old"] if force else [])


def test_it_is_for_its_owner_alone_from_the_first_byte_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with new_file(str(tmp_path / "r"), force=False) as file:
            assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600
            file.write(b"whole")
    finally:
        os.umask(before)
    assert (tmp_path / "r").read_bytes() == b"whole"
    with pytest.raises(Conflict, match="is there already"), new_file(str(tmp_path / "r"), force=False):
        pass
