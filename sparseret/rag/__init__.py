"""Retrieve, then reason: answers whose every fact is quoted from what was retrieved.

After ALR², "A Retrieve-then-Reason Framework for Long-context Question Answering" (Li et al., 2024,
arXiv 2410.03227): facts are made explicit first, and the answer is made of them. What models quote
as retrieved is often made up, so each quotation is looked up in the text before it may count.
"""

from __future__ import annotations

from sparseret.rag.answers import Answer, answer_from, ask
from sparseret.rag.evidence import Sentence, Source, select_evidence
from sparseret.rag.extractive import ExtractiveReader
from sparseret.rag.facts import Checked, Fact, Quote, check_quotes
from sparseret.rag.local_reader import LocalReader
from sparseret.rag.openai_reader import OpenAIReader
from sparseret.rag.readers import Reader

__all__ = [
    "Answer",
    "Checked",
    "ExtractiveReader",
    "Fact",
    "LocalReader",
    "OpenAIReader",
    "Quote",
    "Reader",
    "Sentence",
    "Source",
    "answer_from",
    "ask",
    "check_quotes",
    "select_evidence",
]
