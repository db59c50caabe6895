"""SPLADE over a decoder-only language model: a text is given twice, and the second copy counts.

The model has random weights, so terms mean nothing; put the folder of a real one in its place
(and adapter= for LoRA weights). Needs the extra "neural".
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

TEXTS = ["The slipstream of a propeller changes the lift of a wing.", "Heat in composite slabs."]


def main() -> None:
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("skipped: torch and transformers are needed (pip install 'sparseret[neural]')")
        return
    from sparseret.encoders.causal_lm import CausalSpladeEncoder
    from sparseret.train.scratch import new_causal_lm

    with tempfile.TemporaryDirectory() as temporary:
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
        else:
            folder = new_causal_lm(temporary, TEXTS, vocabulary=400, hidden=64, layers=1)
        encoder = CausalSpladeEncoder(folder, top_k=8)
        [[reading]] = encoder.read(TEXTS[1:2], query=False)
        print(f"the model reads: {encoder.tokenizer.decode(reading.ids).strip()}")
        for text, row in zip(TEXTS, encoder.encode_documents(TEXTS), strict=True):
            heaviest = sorted(zip(row.data, row.indices, strict=True), reverse=True)
            terms = "  ".join(f"{encoder.term(c).strip()} {v:.2f}" for v, c in heaviest)
            print(f"{text}\n  {terms}")


if __name__ == "__main__":
    main()
