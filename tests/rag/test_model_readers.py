"""Readers that are language models: behind a false endpoint, and a tiny one with random weights."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sparseret import Retriever
from sparseret.errors import ConfigurationError, MissingExtraError, ReaderError
from sparseret.rag import LocalReader, OpenAIReader, ask

QUESTION = "When does a wing stall?"


class Endpoint:
    """Replies in turn: a text, a status with an error, or whatever body."""

    def __init__(self) -> None:
        self.replies: list[str | int | bytes] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                endpoint.requests.append(json.loads(self.rfile.read(length)))
                endpoint.keys.append(self.headers["Authorization"])
                reply = endpoint.replies.pop(0)
                status, body = 200, b""
                if isinstance(reply, int):
                    status, body = reply, b'{"error": {"message": "no"}}'
                elif isinstance(reply, bytes):
                    body = reply
                else:
                    message = {"role": "assistant", "content": reply}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    body = json.dumps(
                        {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
                         "choices": [choice]}
                    ).encode()  # fmt: skip
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After-Ms", "1")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    pytest.importorskip("openai", reason="openai is not installed (sparseret[openai])")
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_facts_first_then_the_answer(plain: Retriever, endpoint: Endpoint) -> None:
    endpoint.replies = [
        '[1] "beyond 15 degrees the wing stalls"\n[1] "the wing is green"\n',
        " Beyond 15 degrees [1].\n",
    ]
    answer = ask(plain, QUESTION, reader=OpenAIReader("my-model", base_url=endpoint.url))
    assert answer.text == "Beyond 15 degrees [1]."
    assert answer.cited == (1,)
    assert [fact.text for fact in answer.facts] == ["Beyond 15 degrees the wing stalls"]
    assert [quote.text for quote in answer.dropped] == ["the wing is green"]
    first, second = endpoint.requests
    assert first["model"] == "my-model"
    assert first["temperature"] == 0
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    asked = first["messages"][1]["content"]
    assert "[1] Wings\nThe lift of a wing" in asked
    assert asked.endswith(f"Question: {QUESTION}\nQuotations:")
    assert "green" not in second["messages"][1]["content"]
    assert "[1] Beyond 15 degrees the wing stalls" in second["messages"][1]["content"]
    assert endpoint.keys == ["Bearer none"] * 2


def test_the_key_is_that_of_the_environment(
    plain: Retriever, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-123")
    endpoint.replies = ["NONE"]
    reader = OpenAIReader("m", base_url=endpoint.url, options={})
    assert ask(plain, QUESTION, reader=reader).text == ""
    assert endpoint.keys == ["Bearer k-123"]
    assert "temperature" not in endpoint.requests[0]
    assert "k-123" not in reader.description


def test_unknown_is_no_answer(plain: Retriever, endpoint: Endpoint) -> None:
    endpoint.replies = ['[1] "the wing stalls"', "UNKNOWN."]
    answer = ask(plain, QUESTION, reader=OpenAIReader("m", base_url=endpoint.url))
    assert answer.text == ""
    assert len(answer.facts) == 1


def test_failures_are_tried_again_and_told(plain: Retriever, endpoint: Endpoint) -> None:
    endpoint.replies = [429, "NONE"]
    ask(plain, QUESTION, reader=OpenAIReader("m", base_url=endpoint.url, max_retries=1))
    assert len(endpoint.requests) == 2
    reader = OpenAIReader("m", base_url=endpoint.url, max_retries=0)
    for reply in (401, 500, b"{}", b'{"choices": []}', b"no json"):
        endpoint.replies = [reply]
        with pytest.raises(ReaderError, match="'m'") as caught:
            ask(plain, QUESTION, reader=reader)
        assert caught.value.reader == "openai"
    closed = OpenAIReader("m", base_url="http://127.0.0.1:9/v1", max_retries=0, timeout=2)
    with pytest.raises(ReaderError):
        ask(plain, QUESTION, reader=closed)


def test_settings_are_checked(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        OpenAIReader("m")
    for wrong in ({"timeout": 0}, {"max_retries": -1}):
        with pytest.raises(ConfigurationError):
            OpenAIReader("m", base_url=endpoint.url, **wrong)  # type: ignore[arg-type]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"sparseret\[openai\]"):
        OpenAIReader("m")


def test_command(plain: Retriever, endpoint: Endpoint, run: Callable[..., Any]) -> None:
    endpoint.replies = ['[1] "the wing stalls"\n[1] "made up"', "Soon [1]"]
    shown = run(
        "ask", plain.path, QUESTION, "--reader", "openai:m", "--base-url", endpoint.url,
        terminal=True,
    ).out  # fmt: skip
    assert "Soon [1]" in shown
    assert "1 quotation" in shown


@pytest.fixture(scope="module")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of random weights that reads up to 1,024 tokens."""
    torch = pytest.importorskip("torch", reason="torch is not installed (sparseret[neural])")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["a wing stalls"], vocab_size=300, special_tokens=["<end>"])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(tokenizer.to_str()), eos_token="<end>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(fast), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=1024, eos_token_id=fast.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_local_model_replies_the_same_each_time(plain: Retriever, tiny_causal: Path) -> None:
    reader = LocalReader(tiny_causal, max_new_tokens=8)
    reply = reader._complete("Instructions.", "Request.")
    assert reply == reader._complete("Instructions.", "Request.")
    assert reply != reader._complete("Instructions.", "Another request.")
    answer = ask(plain, QUESTION, reader=reader, budget=60)
    assert answer.facts == ()  # random words are quoted from nowhere
    assert answer.text == ""
    assert "local (causal" in reader.description


def test_a_chat_template_is_used(tiny_causal: Path) -> None:
    reader = LocalReader(tiny_causal, max_new_tokens=2)
    assert reader._prompt("Do.", "This.") == "Do.\n\nThis."
    reader._tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    assert reader._prompt("Do.", "This.") == "<system>Do.<user>This.<assistant>"
    assert isinstance(reader._complete("Do.", "This."), str)


def test_a_prompt_that_is_too_long_is_told(plain: Retriever, tiny_causal: Path) -> None:
    reader = LocalReader(tiny_causal)
    with pytest.raises(ReaderError, match="smaller budget"):
        reader._complete("Instructions.", "many words " * 500)


@pytest.mark.usefixtures("neural")
def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        LocalReader(tmp_path)
    with pytest.raises(ConfigurationError):
        LocalReader(tmp_path, max_new_tokens=0)
