"""One hash for the content of a data folder: the same wherever it lies and whenever it was copied."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medaegis._errors import DataError, require
from medaegis.data._listing import relative_name
from medaegis.data._workers import worker_count


def fingerprint(files: Sequence[Path], root: str | Path) -> str:
    """Hash names and contents of files: blake2b over the sorted relative names, each with the blake2b of its bytes.

    Place, order and times of the files do not count; a renamed, changed, added or removed file does.

    Args:
        files: which, all below `root`.
        root: the folder to which names are relative.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: a file is not below `root`.
        DataError: a file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a").write_text("x")
        ...     len(fingerprint([Path(folder, "a")], folder))
        64
    """
    folder = Path(root)
    outside = [str(file) for file in files if not file.is_relative_to(folder)]
    require(not outside, "files", "fingerprint", f"below {folder}", outside[:3])
    with ThreadPoolExecutor(worker_count()) as pool:
        digests = list(pool.map(_digest, files))
    whole = hashlib.blake2b(digest_size=32)
    names = [unicodedata.normalize("NFC", relative_name(file, folder)) for file in files]
    for name, digest in sorted(set(zip(names, digests, strict=True))):
        whole.update(os.fsencode(name) + b"\0" + digest)  # no name holds a zero byte, and digests have one length
    return whole.hexdigest()


def _digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=32)).digest()
    except OSError as error:
        raise DataError(f"{file} must be readable, got: {error.strerror or error}. Check its permissions.") from None
