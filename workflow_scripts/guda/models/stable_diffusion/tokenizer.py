"""A custom CLIP tokenizer, in which every word of the given texts is one token."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

Pair = tuple[str, str]


def new_tokenizer(texts: list[str], length: int) -> CLIPTokenizer:
    """A tokenizer that truncates and pads texts to `length` tokens; unknown words are split, down to bytes.

    The vocabulary is laid out like CLIP's: bytes, bytes that end a word, merges, start and end of text.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    backend = CLIPTokenizer().backend_tokenizer
    split = (backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)) for text in texts)
    merges = merges_of(Counter(word for words in split for word, _ in words))
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START, END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocabulary, merges, model_max_length=length)


def merges_of(words: Counter[str]) -> list[Pair]:
    """Byte pairs in the order in which they are merged, the most frequent first, until every word is one token.

    Sennrich et al. 2016. Ties are broken alphabetically: the tokenizers library breaks them arbitrarily, so its runs
    differ.
    """
    split = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    merges = []
    while counts := _pair_counts(split, words):
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        split = {word: _merged(parts, merges[-1]) for word, parts in split.items()}
    return merges


def _pair_counts(split: dict[str, list[str]], words: Counter[str]) -> Counter[Pair]:
    counts: Counter[Any] = Counter()
    for word, parts in split.items():
        for pair in pairwise(parts):
            counts[pair] += words[word]
    return counts


def _merged(parts: list[str], pair: Pair) -> list[str]:
    merged: list[Any] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def tokenizer_model(tokenizer: CLIPTokenizer) -> dict:
    """Vocabulary and merges (`vocab`, `merges`) of a tokenizer."""
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]


def tokenizer_files(tokenizer: CLIPTokenizer) -> dict[str, str]:
    """The files of a tokenizer's folder by name, in the format that every version of transformers reads."""
    model = tokenizer_model(tokenizer)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tokenizer.model_max_length}
    settings |= {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    return {
        "vocab.json": json.dumps(model["vocab"], ensure_ascii=False) + "\n",
        "merges.txt": "\n".join(merges) + "\n",
        "tokenizer_config.json": json.dumps(settings, indent=1, sort_keys=True) + "\n",
    }
