"""Crashes, full disks and damaged files: nothing committed is lost, every error is typed.

SPARSERET_KILLS sets how many kill -9 runs there are (default 40).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forks import Forks, Process
from sparseret import vectors
from sparseret.errors import (
    CorruptIndexError,
    IncompatibleIndexError,
    IndexNotFoundError,
    SparseretError,
    StorageError,
)
from sparseret.indexers.creation import LegSpec, create_folder
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.search import search_snapshot
from sparseret.indexers.verify import verify_index
from sparseret.ingest import ingest
from sparseret.retriever import Retriever

KILLS = int(os.environ.get("SPARSERET_KILLS", "40"))

WORKER = """
import sys
import numpy as np
from sparseret import vectors
from sparseret.indexers import writer
from sparseret.indexers.inverted import InvertedIndex

writer.MEMORY_BUDGET = 64 * 64  # several segments a commit
path, start = sys.argv[1], int(sys.argv[2])
index = InvertedIndex.open(path)
index.search(vectors.check(np.ones((1, 8))))  # imports what is imported late
index.writer.begin()
print("open", flush=True)
for step in range(start, start + 1000):
    ids = [f"{step}-{i}" for i in range(20)]
    index.add(ids, vectors.check(np.full((20, 8), step + 1.0)))
    index.delete([f"{step - 3}-{i}" for i in range(20)])
    index.commit()
    print(step, flush=True)
    if step % 4 == 3:
        index.merge()
        print("merged", flush=True)
"""


def committed_state(path: Path) -> tuple[int, int]:
    """The range of steps an index holds; checks that each is whole."""
    assert verify_index(path) == []
    with InvertedIndex.open(path) as index:
        n = len(index)
        assert n % 20 == 0
        if not n:
            return 0, 0
        hits = index.search(vectors.check(np.ones((1, 8))), 10_000)
        steps = sorted({int(id.split("-")[0]) for id in hits.ids[0]})
        assert len(hits.ids[0]) == n
        assert sorted(hits.ids[0]) == sorted(f"{s}-{i}" for s in steps for i in range(20))
        assert steps == list(range(steps[0], steps[-1] + 1))
        return steps[0], steps[-1]


IMPORTS = ("numpy", "scipy.sparse", "sparseret.indexers.folder", "sparseret.indexers.inverted",
           "sparseret.retriever", "sparseret.cli.index", "rich.progress")  # fmt: skip


def last_step_before_kill(worker: Process, seconds: float, first: int) -> int:
    """Let a worker run for a while, and kill it; returns the last step that it has told of."""
    assert worker.stdout is not None
    with worker.stdout as stream:
        assert stream.readline() == "open\n"
        time.sleep(seconds)
        worker.kill()
        lines = stream.read().split("\n")
    worker.wait()
    done = [int(line) for line in lines[:-1] if line.isdigit()]
    return done[-1] if done else first - 1


def test_kill_at_any_moment_loses_no_commit(tmp_path: Path, forks: Forks) -> None:
    path = tmp_path / "index"
    InvertedIndex.create(path, dim=8).close()
    rng = random.Random(0)
    step = 0
    for _ in range(KILLS):
        worker = forks.start(["-c", WORKER, path, step], tmp_path, imports=IMPORTS)
        acknowledged = last_step_before_kill(worker, rng.uniform(0, 0.2), step)
        first, last = committed_state(path)
        if last or acknowledged >= 0:
            # What was acknowledged is there; at most the commit under way may be there too.
            assert last in (acknowledged, acknowledged + 1)
            assert first == max(0, last - 2)
            step = last + 1
    assert step > KILLS / 4, "the workers were killed before they did anything"


HYBRID_WORKER = """
import sys
import numpy as np
from sparseret import vectors
from sparseret.indexers import writer
from sparseret.indexers.folder import IndexFolder

writer.MEMORY_BUDGET = 64 * 64
path, start = sys.argv[1], int(sys.argv[2])
index = IndexFolder(path)
index.writer.begin()
print("open", flush=True)
for step in range(start, start + 1000):
    ids = [f"{step}-{i}" for i in range(20)]
    rows = np.full((20, 8), step + 1.0, np.float32)
    index.append(ids, [vectors.check(rows), rows])
    index.delete([f"{step - 3}-{i}" for i in range(20)])
    index.commit()
    print(step, flush=True)
    if step % 4 == 3:
        index.merge()
        print("merged", flush=True)
"""


def test_kill_at_any_moment_leaves_all_legs_at_the_same_commit(
    tmp_path: Path, forks: Forks
) -> None:
    path = tmp_path / "index"
    legs = [LegSpec("a", "a", 8), LegSpec("b", "b", 8, dense=DenseSettings(metric="ip"))]
    create_folder(path, legs, {}, [], None)
    rng = random.Random(2)
    step = 0
    for _ in range(max(4, KILLS // 4)):
        worker = forks.start(["-c", HYBRID_WORKER, path, step], tmp_path, imports=IMPORTS)
        acknowledged = last_step_before_kill(worker, rng.uniform(0, 0.3), step)
        assert verify_index(path) == []
        with IndexFolder(path) as index:
            ones = np.ones((1, 8), np.float32)
            found = []
            for leg, query in zip(index.legs, [vectors.check(ones), ones], strict=True):
                hits = search_snapshot(leg.snapshot, query, 10_000)
                found.append(dict(zip(hits.ids[0], hits.scores[0].tolist(), strict=True)))
            assert found[0] == found[1]
            assert len(found[0]) == len(index)
            steps = sorted({int(id.split("-")[0]) for id in found[0]})
        if steps or acknowledged >= 0:
            assert steps[-1] in (acknowledged, acknowledged + 1)
            step = steps[-1] + 1
    assert step > 0


def test_kill_during_create(tmp_path: Path, forks: Forks) -> None:
    code = (
        "import sys; from sparseret.retriever import Retriever\n"
        "print('ready', flush=True); Retriever.create(sys.argv[1])"
    )
    rng = random.Random(1)
    for attempt in range(10):
        path = tmp_path / str(attempt)
        worker = forks.start(["-c", code, path], tmp_path, imports=IMPORTS)
        assert worker.stdout is not None
        with worker.stdout as stream:
            stream.readline()
            time.sleep(rng.uniform(0, 0.3))
            worker.kill()
        worker.wait()
        try:
            Retriever.open(path).close()
        except IndexNotFoundError:
            Retriever.create(path).close()
        except SparseretError:
            # A file without a schema: creating again completes it.
            Retriever.create(path).close()
        assert verify_index(path) == []


def test_interrupted_ingest_continues_without_duplicates(tmp_path: Path, forks: Forks) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": str(i), "text": f"word{i} common"}) for i in range(20_000)]
    corpus.write_text("\n".join(lines))
    path = tmp_path / "index"
    command = ["-c", "from sparseret.cli.app import main; main()", "index", corpus]
    command += ["--out", path, "--commit-every", "1000"]
    rng = random.Random(2)
    interrupted = 0
    for attempt in range(31):
        seconds = rng.uniform(0.1, 0.8) if attempt < 30 else 120
        done = forks.run(command, tmp_path, imports=IMPORTS, seconds=seconds)
        if done.status == 0:
            break
        assert done.status == -signal.SIGKILL, done.err
        interrupted += 1
    assert interrupted
    assert "20000 documents" in done.out
    assert verify_index(path) == []
    with Retriever.open(path) as retriever:
        assert len(retriever) == 20_000
        assert [d.id for d in retriever.documents()] == [str(i) for i in range(20_000)]
        assert len(retriever.retrieve(["common"], 30_000).ids[0]) == 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if mount is None or os.geteuid() != 0:
        pytest.skip("a small tmpfs needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(small_disk: Path) -> None:
    path = small_disk / "index"
    with Retriever.create(path) as retriever:
        from sparseret.documents import Document

        retriever.add([Document("keep", "a document to keep")])
        retriever.commit()
        texts = (Document(str(i), f"filler{i} " * 40) for i in range(100_000))
        with pytest.raises(StorageError, match=r"intact|full"):
            retriever.add(texts)
            retriever.commit()
        assert [r.id for r in retriever.search("document keep")] == ["keep"]
        # The same object goes on working, within the space there is.
        retriever.add([Document("second", "another document")])
        retriever.commit()
        assert {r.id for r in retriever.search("document")} == {"keep", "second"}
    assert verify_index(path) == []


def test_full_disk_while_writing_a_segment(small_disk: Path) -> None:
    path = small_disk / "index"
    rng = np.random.default_rng(0)
    with InvertedIndex.create(path) as index:
        index.add(["a"], vectors.check(np.ones((1, 3))))
        index.commit()
        matrix = rng.random((300, 400))
        with pytest.raises(StorageError, match="Free space"):
            index.add([str(i) for i in range(300)], vectors.check(matrix))
            index.commit()
        assert len(list((path / "segments").iterdir())) == 1
        assert index.search(vectors.check(np.ones((1, 3)))).ids == [["a"]]
    assert verify_index(path) == []


def make_index(path: Path) -> None:
    with Retriever.create(path) as retriever:
        from sparseret.documents import Document

        retriever.add(Document(str(i), f"text number {i} " * (i % 7 + 1)) for i in range(300))


def segment_file(path: Path) -> Path:
    (file,) = (path / "segments").iterdir()
    return file


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.999])
def test_truncated_segment(tmp_path: Path, keep: float) -> None:
    make_index(tmp_path / "i")
    file = segment_file(tmp_path / "i")
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(CorruptIndexError, match="truncated"):
        Retriever.open(tmp_path / "i")
    assert verify_index(tmp_path / "i")


def test_missing_segment(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    segment_file(tmp_path / "i").unlink()
    with pytest.raises(CorruptIndexError, match="missing"):
        Retriever.open(tmp_path / "i")
    assert "missing" in verify_index(tmp_path / "i")[0]


def test_every_flipped_bit_of_a_segment_is_found_and_harmless(tmp_path: Path) -> None:
    """verify() names each damage; opening and searching may fail, but only with our errors."""
    make_index(tmp_path / "i")
    file = segment_file(tmp_path / "i")
    sound = file.read_bytes()
    rng = random.Random(3)
    places = [*range(0, 200, 20), *(rng.randrange(len(sound)) for _ in range(150))]
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        assert verify_index(tmp_path / "i"), f"bit at {place} of {len(sound)} went unnoticed"
        try:
            with Retriever.open(tmp_path / "i") as retriever:
                retriever.search_batch(["text number 5", "77 78 79", "number"], 400)
                retriever.explain("text number 5", "5")
        except SparseretError:
            pass
    file.write_bytes(sound)
    assert verify_index(tmp_path / "i") == []


def test_damaged_segments_are_not_merged(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    file = segment_file(tmp_path / "i")
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 1
    file.write_bytes(damaged)
    with Retriever.open(tmp_path / "i") as retriever:
        retriever.delete(["7"])
        retriever.commit()
        with pytest.raises(CorruptIndexError, match=r"checksum .* not merged"):
            retriever.merge()
        assert len(retriever) == 299
    assert file.read_bytes() == damaged


def test_damaged_catalog(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    catalog = tmp_path / "i" / "catalog.sqlite"
    sound = catalog.read_bytes()
    for damaged in (b"not a database at all, but long enough to look at" * 50, sound[:2000]):
        catalog.write_bytes(damaged)
        with pytest.raises(SparseretError, match=r"catalog\.sqlite"):
            Retriever.open(tmp_path / "i")
    rng = random.Random(4)
    for _ in range(40):
        damaged = bytearray(sound)
        for _ in range(20):
            damaged[rng.randrange(100, len(sound))] ^= 1 << rng.randrange(8)
        catalog.write_bytes(damaged)
        try:
            verify_index(tmp_path / "i")
            with Retriever.open(tmp_path / "i") as retriever:
                retriever.search("text number 5", 300)
        except SparseretError:
            pass


def test_altered_document_is_found(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    db = sqlite3.connect(tmp_path / "i" / "catalog.sqlite")
    db.execute("UPDATE documents SET text = text || 'x' WHERE id = '17'")
    db.execute("DELETE FROM documents WHERE id = '18'")
    db.commit()
    db.close()
    assert verify_index(tmp_path / "i") == ["catalog: checksum of document '17' is wrong"]
    db = sqlite3.connect(tmp_path / "i" / "catalog.sqlite")
    db.execute("DELETE FROM documents WHERE id = '17'")
    db.commit()
    db.close()
    assert verify_index(tmp_path / "i") == ["2 documents of the segments are not in the catalog"]


def test_foreign_and_newer_files(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    with sqlite3.connect(tmp_path / "i" / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(IncompatibleIndexError, match=r"format 99.*upgrade"):
        Retriever.open(tmp_path / "i")
    (tmp_path / "foreign").mkdir()
    db = sqlite3.connect(tmp_path / "foreign" / "catalog.sqlite")
    db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(CorruptIndexError, match="not a sparseret catalog"):
        Retriever.open(tmp_path / "foreign")


def test_orphans_of_a_crash_are_removed_by_the_next_writer(tmp_path: Path) -> None:
    make_index(tmp_path / "i")
    orphan = tmp_path / "i" / "segments" / "000099.safetensors"
    orphan.write_bytes(b"half a segment")
    assert verify_index(tmp_path / "i") == []
    with Retriever.open(tmp_path / "i") as retriever:
        assert retriever.search("text")
        assert orphan.exists()
        retriever.delete(["1"])
    assert not orphan.exists()
    assert verify_index(tmp_path / "i") == []


def test_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Retriever.create(Path("/proc/sparseret-index"))


def test_failed_batch_leaves_earlier_ones(tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text(
        '{"_id": "1", "text": "a b"}\n{"_id": "2", "text": "b c"}\n{"_id": "3", "text": ""\n'
    )
    with Retriever.create(tmp_path / "i") as retriever:
        with pytest.raises(SparseretError, match=r"c\.jsonl:3"):
            ingest(retriever, corpus)
        assert len(retriever) == 2
        corpus.write_text(corpus.read_text().replace(' ""', ' ""}'))
        report = ingest(retriever, corpus)
        assert (report.added, report.resumed_after) == (1, 2)
        assert len(retriever) == 3
