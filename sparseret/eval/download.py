"""Download of BEIR's datasets: checked before unpacking, in the cache whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from sparseret.errors import DatasetError, StorageError
from sparseret.progress import progress_bar

__all__ = ["BEIR_MD5", "BEIR_URL", "cache_folder", "download_beir"]

BEIR_URL = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
"""Where BEIR publishes ``NAME.zip``."""

BEIR_MD5 = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "cqadupstack": "4e41456d7df8ee7760a7f866133bda78",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "5a818580227bfb4b35bb6fa46d9b6c03",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "msmarco": "444067daf65d982533ea17ebd59501e4",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}
"""MD5 of each published archive, as BEIR's README lists them ("Available Datasets")."""

_TIMEOUT_S = 30.0
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Where downloads are kept: ``$SPARSERET_CACHE``, or the platform's folder for caches."""
    chosen = os.environ.get("SPARSERET_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sparseret"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "sparseret" / "Cache"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "sparseret"


def download_beir(
    name: str, *, cache: Path | None = None, base_url: str = BEIR_URL, md5: str | None = None
) -> Path:
    """Folder of a BEIR dataset in the cache, downloaded first where it is not there.

    The archive and what it holds come into being under temporary names in the cache; a rename makes
    the finished folder visible. An interruption leaves nothing that a later call would take for a
    dataset, and of two processes that download at once, the first to finish wins.

    Args:
        name: a key of :data:`BEIR_MD5`.
        cache: folder for downloads; :func:`cache_folder` by default.
        base_url: address of the folder that holds ``NAME.zip``.
        md5: checksum of the archive; that of :data:`BEIR_MD5` by default.

    Raises:
        DatasetError: unknown name, unreachable address, cut short, wrong checksum, or an archive
            that holds something else.
        StorageError: the cache cannot be written.
    """
    expected = md5 or BEIR_MD5.get(name)
    if expected is None:
        raise DatasetError(f"{name}: not a dataset of BEIR; known: {', '.join(sorted(BEIR_MD5))}")
    home = (cache or cache_folder()) / "beir"
    target = home / name
    if target.is_dir():
        return target
    url = f"{base_url}/{name}.zip"
    by_hand = f"to get it by hand, download {url} elsewhere, unzip it, and pass the folder '{name}'"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=home) as temporary:
            archive = Path(temporary) / "archive.zip"
            found = _fetch(url, archive, by_hand)
            if found != expected:
                raise DatasetError(
                    f"{url}: the checksum is {found} where {expected} is published, so the file is "
                    f"damaged or was replaced; nothing was unpacked. Try again later, or {by_hand}"
                )
            unpacked = Path(temporary) / "unpacked"
            _unpack(archive, unpacked)
            if not (unpacked / name).is_dir():
                raise DatasetError(f"{url}: the archive has no folder '{name}'; {by_hand}")
            _publish(unpacked / name, target)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{home}: cannot be written ({error.strerror or error}); free some space, or set "
            "SPARSERET_CACHE to another folder"
        ) from error
    return target


def _fetch(url: str, archive: Path, by_hand: str) -> str:
    """Download to a file with a progress bar on standard error; returns the MD5 of what came."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    # Only the calls that talk to the network may blame it: a full disk is another error.
    unreachable = (OSError, HTTPException)
    try:
        response = urlopen(url, timeout=_TIMEOUT_S)  # noqa: S310 - the address is a constant of ours
    except HTTPError as error:
        raise DatasetError(
            f"{url}: the server answered {error.code} {error.reason}; {by_hand}"
        ) from error
    except unreachable as error:
        reason = getattr(error, "reason", error)
        raise DatasetError(f"{url} could not be reached ({reason}); {by_hand}") from error
    digest = hashlib.md5(usedforsecurity=False)
    with response, archive.open("wb") as file:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        received = 0
        label = f"downloading {url.rpartition('/')[2]}"
        with progress_bar(label, total, show=sys.stderr.isatty(), unit="bytes") as advance:
            while True:
                try:
                    chunk = response.read(_CHUNK)
                except unreachable as error:
                    raise DatasetError(
                        f"{url}: the connection broke after {received} bytes ({error}); "
                        f"try again, or {by_hand}"
                    ) from error
                if not chunk:
                    break
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                advance(len(chunk))
    if total is not None and received != total:
        raise DatasetError(
            f"{url}: the download was cut short, {received} of {total} bytes came; "
            f"try again, or {by_hand}"
        )
    return digest.hexdigest()


def _unpack(archive: Path, target: Path) -> None:
    """Unpack plain files and folders; anything that would land outside ``target`` is refused."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                outside = path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
                if outside or stat.S_ISLNK(entry.external_attr >> 16):
                    raise DatasetError(
                        f"the archive holds {entry.filename!r}, which points outside its folder; "
                        "it was not unpacked"
                    )
                destination = target.joinpath(*path.parts)
                if entry.is_dir():
                    destination.mkdir(parents=True, exist_ok=True)
                    continue
                destination.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, destination.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"the download is no sound zip archive: {error}") from error


def _publish(folder: Path, target: Path) -> None:
    """Make the finished folder visible under its name; another process may have been faster."""
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
