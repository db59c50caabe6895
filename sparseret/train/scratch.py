"""Small untrained models with a tokenizer made from one's own texts, to train from nothing.

A pretrained model is the better start wherever one can be had. These serve where none can: small
collections, languages without a model, tests and examples that must run anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sparseret.encoders.checkpoints import require_neural
from sparseret.encoders.transformer_body import quiet_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

__all__ = ["new_causal_lm", "new_masked_lm"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


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
    """Write a BERT with random weights and a lower-case WordPiece tokenizer made from texts.

    Its pieces are the frequent letters of the texts, alone and within words, and then their most
    frequent words. (The trainer of tokenizers breaks ties by chance, and would make another
    vocabulary each time.)

    Args:
        folder: where to; made if need be.
        texts: what the tokenizer is made from.
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
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    normalizer = normalizers.BertNormalizer(lowercase=True)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        words = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in words)
    pieces = _pieces(counts, vocabulary)
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token=_SPECIAL[1]))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(_SPECIAL))
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


def _pieces(counts: Counter[str], size: int) -> dict[str, int]:
    """Special tokens, letters for at most half of the vocabulary, and words; ties by alphabet."""
    letters: Counter[str] = Counter()
    for word, count in counts.items():
        for letter in word:
            letters[letter] += count
    frequent = sorted(letters, key=lambda letter: (-letters[letter], letter))
    pieces = dict.fromkeys(_SPECIAL)
    for letter in frequent[: (size // 2 - len(_SPECIAL)) // 2]:
        pieces |= {letter: None, f"##{letter}": None}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        if len(pieces) >= size:
            break
        pieces[word] = None
    return {piece: number for number, piece in enumerate(pieces)}


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
