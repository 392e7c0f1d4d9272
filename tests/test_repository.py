"""What must not be in the repository: addresses of package indexes, paths of a machine, unpinned versions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = [r"pypi\.org", r"pythonhosted", r"download\.pytorch", r"--(extra-)?index-url", r"/work/", r"/root/"]


def tracked() -> list[Path]:
    try:
        names = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def test_no_index_and_no_path_of_a_machine() -> None:
    for path in tracked():
        if path.suffix == ".png" or path == Path(__file__):
            continue
        text = path.read_text()
        found = [pattern for pattern in FORBIDDEN if re.search(pattern, text)]
        assert not found, f"{path.relative_to(ROOT)} holds {found}"


def test_constraints_are_exact() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 20
    assert all(re.fullmatch(r"[a-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)


def test_no_data_is_committed() -> None:
    pages = ROOT / "docs" / "results"  # without pictures and cases; they hold their tables once more, as downloads
    big = [path for path in tracked() if path.stat().st_size > (1_500_000 if pages in path.parents else 500_000)]
    assert not big, big
    assert not [path for path in tracked() if path.suffix in {".jpg", ".jpeg", ".npz", ".pth", ".safetensors"}]
