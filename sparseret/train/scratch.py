"""Small untrained models with a tokenizer made from one's own texts, to train from nothing.

A pretrained model is the better start wherever one can be had. These serve where none can: small
collections, languages without a model, tests and examples that must run anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sparseret.encoders.checkpoints import require_neural
from sparseret.encoders.transformer_body import quiet_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

__all__ = ["new_causal_lm", "new_masked_lm"]


def new_masked_lm(
    folder: str | Path,
    texts: Iterable[str],
    *,
    vocabulary: int = 8000,
    hidden: int = 128,
    layers: int = 2,
    heads: int = 4,
    max_length: int = 512,
    seed: int = 0,
) -> Path:
    """Write a BERT with random weights and a lower-case WordPiece tokenizer learnt from texts.

    Args:
        folder: where to; made if need be.
        texts: what the tokenizer is learnt from.
        vocabulary: most tokens it has.
        hidden: width of the states, a multiple of ``heads``; the inner width is four times that.
        layers: number of layers.
        heads: attention heads.
        max_length: most tokens of a text.
        seed: of the weights.

    Returns:
        The folder, which the ``start`` methods of models and :class:`TrainableSplade` take.
    """
    require_neural("making a model")
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=max_length,
    )
    return _write(folder, lambda: transformers.BertForMaskedLM(config), tokenizer, seed)


def new_causal_lm(
    folder: str | Path,
    texts: Iterable[str],
    *,
    vocabulary: int = 8000,
    hidden: int = 128,
    layers: int = 2,
    heads: int = 4,
    max_length: int = 1024,
    seed: int = 0,
) -> Path:
    """Write a Llama with random weights, tied embeddings and a byte-level tokenizer of texts.

    Arguments and result as of :func:`new_masked_lm`; text is not folded to lower case.
    """
    require_neural("making a model")
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    return _write(folder, lambda: transformers.LlamaForCausalLM(config), tokenizer, seed)


def _write(
    folder: str | Path, make: Callable[[], PreTrainedModel], tokenizer: Tokenizer, seed: int
) -> Path:
    import torch

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        make().save_pretrained(target)
    tokenizer.save(str(target / "tokenizer.json"))
    return target
