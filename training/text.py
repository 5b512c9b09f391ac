"""The small vocabulary and text encoder of the embedded editor."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH = 24
"""Number of tokens that a prompt is truncated or padded to."""


def tokenizer(sentences: list[str], size: int) -> Any:
    """A CLIP tokenizer with merges learned from ``sentences``; it can encode every byte."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        merges.write_text("#version: 0.2\n")
        base = CLIPTokenizer(str(vocabulary), str(merges), model_max_length=LENGTH)
    return base.train_new_from_iterator(sentences, size)


def text_encoder(tokenizer: Any, width: int, layers: int) -> Any:
    """An untrained CLIP text model for a tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 4,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
