from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sparseret.errors import DatasetError, StorageError
from sparseret.eval.datasets import load_dataset
from sparseret.eval.download import BEIR_MD5, cache_folder, download_beir

FILES = {
    "scifact/corpus.jsonl": '{"_id": "d1", "text": "a"}\n',
    "scifact/queries.jsonl": '{"_id": "q1", "text": "a"}\n',
    "scifact/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return packed.getvalue()


class Server:
    """Serves ``content`` as /scifact.zip on this machine, and counts the requests."""

    def __init__(self) -> None:
        self.content = archive(FILES)
        self.promised: int | None = None  # Content-Length, where it differs from the truth
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if self.path != "/scifact.zip":
                    self.send_error(404)
                    return
                self.send_response(200)
                length = len(outer.content) if outer.promised is None else outer.promised
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    @property
    def md5(self) -> str:
        return hashlib.md5(self.content).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def left_over(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "beir").glob("**/*") if path.is_file())


def test_download(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = download_beir("scifact", cache=tmp_path, base_url=server.url, md5=server.md5)
    assert folder == tmp_path / "beir" / "scifact"
    # Nothing else stays behind: neither the archive nor temporary files.
    assert left_over(tmp_path) == sorted(tmp_path / "beir" / name for name in FILES)
    # The second time it comes from the cache, and a name finds it there.
    download_beir("scifact", cache=tmp_path, base_url=server.url, md5=server.md5)
    assert server.requests == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSERET_CACHE", str(tmp_path))
    dataset = load_dataset("scifact")
    assert (dataset.name, dataset.qrels) == ("scifact", {"q1": {"d1": 1}})


def test_wrong_checksum_unpacks_nothing(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DatasetError, match=BEIR_MD5["scifact"]):
        download_beir("scifact", cache=tmp_path, base_url=server.url)
    assert left_over(tmp_path) == []
    assert not (tmp_path / "beir" / "scifact").exists()


def test_truncated_download(tmp_path: Path, server: Server) -> None:
    md5 = server.md5
    server.promised, server.content = len(server.content), server.content[:100]
    # Depending on Python's version the library or we notice; both say that it was cut short.
    with pytest.raises(DatasetError, match=r"cut short|connection broke"):
        download_beir("scifact", cache=tmp_path, base_url=server.url, md5=md5)
    assert left_over(tmp_path) == []


def test_no_server(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9"  # the discard port, where nothing listens
    with pytest.raises(DatasetError, match=rf"{url}/scifact\.zip could not be reached") as error:
        download_beir("scifact", cache=tmp_path, base_url=url)
    assert "unzip it, and pass the folder 'scifact'" in str(error.value)
    assert left_over(tmp_path) == []


def test_error_of_the_server(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DatasetError, match="answered 404"):
        download_beir("nfcorpus", cache=tmp_path, base_url=server.url)


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a dataset of BEIR; known: arguana"):
        download_beir("sci-fact", cache=tmp_path)


def slip(files: dict[str, str]) -> bytes:
    return archive({**FILES, "scifact/../../evil": "x", **files})


def absolute(files: dict[str, str]) -> bytes:
    return archive({**FILES, "/evil": "x"})


def backslash(files: dict[str, str]) -> bytes:
    return archive({**FILES, "scifact\\..\\..\\evil": "x"})


def symlink(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        link = zipfile.ZipInfo("scifact/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    return packed.getvalue()


@pytest.mark.parametrize("make", [slip, absolute, backslash, symlink])
def test_archive_that_reaches_outside(
    tmp_path: Path, server: Server, make: Callable[[dict[str, str]], bytes]
) -> None:
    server.content = make({})
    with pytest.raises(DatasetError, match="points outside"):
        download_beir("scifact", cache=tmp_path / "cache", base_url=server.url, md5=server.md5)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no archive at all", "no sound zip"), (archive({"other/file": "x"}), "has no folder")],
)
def test_other_content(tmp_path: Path, server: Server, content: bytes, reason: str) -> None:
    server.content = content
    with pytest.raises(DatasetError, match=reason):
        download_beir("scifact", cache=tmp_path, base_url=server.url, md5=server.md5)


def test_another_process_was_faster(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        (target / "qrels").mkdir(parents=True)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    folder = download_beir("scifact", cache=tmp_path, base_url=server.url, md5=server.md5)
    assert [path.name for path in folder.iterdir()] == ["qrels"]


def test_cache_that_cannot_be_written(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="SPARSERET_CACHE"):
        download_beir("scifact", cache=tmp_path / "file", base_url=server.url, md5=server.md5)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSERET_CACHE", "/some/where")
    assert cache_folder() == Path("/some/where")
    monkeypatch.delenv("SPARSERET_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/sparseret")


def test_checksums_are_checksums() -> None:
    assert all(len(md5) == 32 and int(md5, 16) for md5 in BEIR_MD5.values())
    assert len(set(BEIR_MD5.values())) == len(BEIR_MD5) == 15
