"""What the tiny model starts from: weights that compare words, written by hand, which training then refines.

A thousand labels are far too few for a transformer to discover from nothing that a candidate should
resemble its query. So the start does it already: token vectors are those of a latent semantic
analysis, one layer averages them over the query and over each candidate, a gated layer multiplies the
two averages, and the product says Yes, or picks the letter.

The residual stream, 256 wide, is laid out in the parts named below. Layer 0 marks what stands behind the
marker, layer 1 averages and multiplies, layer 2 chooses; all that is not written starts at random.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

HEAD = 32  # a head's width
WORD = slice(0, 48)  # a token's own vector
LETTER = slice(48, 80)  # which letter it is
QUERY = slice(80, 128)  # mean over the query
NEAR = slice(128, 176)  # mean over the last few tokens: the option that a letter stands behind
AFTER = slice(176, 224)  # mean over what stands behind the marker: the candidate
# One dimension each.
EVEN, MARKER, BEHIND, IS_LETTER, MATCH, VERDICT = 224, 225, 226, 227, 228, 229
CODE = slice(230, 256)  # random, so that tokens whose words mean nothing can be told apart
CONSTANT = 8.0  # in EVEN, of every token: it dominates the RMS norm, which so scales all tokens alike
SLOW = 15  # the rotary pair of a head that hardly turns: attention by content alone
TURNING = (4, 5)  # pairs that turn by 0.032 and 0.013 a token: attention to the last twenty or so
SURE = 12.0  # attention logit against others' 0
QUERY_SCALE, MEAN_SCALE = 8.0, 4.0  # what averages over many tokens are lifted by
VERDICT_SCALE, USUAL = 0.3, 4.0  # of the product of query and candidate
LOUD = 6.0  # how far Yes is from No, and a letter from the others


def word_vectors(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """LSA vectors of the tokens over the texts, scaled by idf: float [n_tokens, 48].

    Upper and lower case, with a blank before it or not, are one word; what has no letter in it is nothing.
    """
    vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    words = [token.lstrip("Ġ").lower() for token in vocabulary]
    place = {word: number for number, word in enumerate(sorted(set(words)))}
    of_token = np.array([place[word] for word in words])
    rows, columns = [], []
    for row, ids in enumerate(tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]):
        found = np.unique(of_token[ids])
        rows += [row] * len(found)
        columns += found.tolist()
    counts = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(place)))
    frequency = np.asarray(counts.sum(axis=0))[0]
    meaningful = np.array([any(sign.isalpha() for sign in word) and "<|" not in word for word in sorted(place)])
    weight = (np.log((1 + len(texts)) / (1 + frequency)) + 1) * meaningful * (frequency > 0)
    # The first component is what all texts have in common, and tells none from another.
    _, _, vectors = randomized_svd(normalize(counts.multiply(weight).tocsr()), 49, random_state=1)
    found = vectors[1:].T * weight[:, None]
    return np.asarray(found[of_token] / np.abs(found).max() * 4.0)


def start(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], markers: list[int], letters: list[int], yes: int, no: int
) -> Qwen2ForCausalLM:
    """The model before training. markers: the tokens behind which candidates stand, letters: those of the options."""
    config = Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        initializer_range=0.02,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        _embeddings(model, word_vectors(texts, tokenizer), markers, letters, yes, no)
        for layer in model.model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight.fill_(CONSTANT / math.sqrt(config.hidden_size))  # undoes the RMS of the constant
        _flag(model.model.layers[0].self_attn)
        _means(model.model.layers[1].self_attn)
        _product(model.model.layers[1].mlp)
        _choice(model.model.layers[2].self_attn)
    return model


def _embeddings(
    model: Qwen2ForCausalLM, words: np.ndarray, markers: list[int], letters: list[int], yes: int, no: int
) -> None:
    table = model.model.embed_tokens.weight
    table[: len(words), WORD] = torch.tensor(words, dtype=table.dtype)
    table[:, LETTER.start :] = 0
    table[:, CODE] = 0.7 * torch.randn(len(table), CODE.stop - CODE.start)
    names = torch.nn.functional.normalize(torch.randn(len(letters), LETTER.stop - LETTER.start), dim=1)
    table[letters, LETTER] = LOUD / 2 * names
    table[letters, WORD] = 0
    table[letters, IS_LETTER] = 1
    table[markers, MARKER] = 1
    table[:, EVEN] = CONSTANT
    head = model.lm_head.weight  # of its own: what a token compares by is not what makes it likely to be written
    head[letters] = 0
    head[letters, LETTER] = LOUD / 2 * names
    head[[yes, no]] = 0
    head[yes, VERDICT], head[no, VERDICT] = LOUD / 2, -LOUD / 2


def _attend(attention: Any, head: int, by: dict[int, float]) -> None:
    """A head whose every query is the same and whose keys are weighted sums of residual dimensions: logits of `by`."""
    row, scale = head * HEAD + SLOW, math.sqrt(HEAD)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[head * HEAD : (head + 1) * HEAD] = 0
        projection.bias[head * HEAD : (head + 1) * HEAD] = 0
    attention.q_proj.bias[row] = math.sqrt(SURE)
    for dimension, logit in by.items():
        attention.k_proj.weight[row, dimension] = scale * logit / math.sqrt(SURE)


def _carry(attention: Any, head: int, source: int, target: int, width: int, scale: float) -> None:
    """The head's output: `width` dimensions from `source` on, as they are where it attends, times `scale`."""
    rows = slice(head * HEAD, (head + 1) * HEAD)
    attention.v_proj.weight[rows] = 0
    attention.v_proj.bias[rows] = 0
    attention.o_proj.weight[:, rows] = 0
    for step in range(width):
        attention.v_proj.weight[head * HEAD + step, source + step] = 1
        attention.o_proj.weight[target + step, head * HEAD + step] = scale


def _flag(attention: Any) -> None:
    """BEHIND: 1 for every token behind the marker."""
    _attend(attention, 0, {MARKER: SURE})
    _carry(attention, 0, MARKER, BEHIND, 1, 1.0)


def _means(attention: Any) -> None:
    """The three averages of word vectors, each by two heads of 24 dimensions."""
    near = math.sqrt(6.0 * math.sqrt(HEAD))
    for half in (0, 1):
        source, step = WORD.start + 24 * half, 24 * half
        _attend(attention, half, {BEHIND: -SURE})
        _carry(attention, half, source, QUERY.start + step, 24, QUERY_SCALE)
        _attend(attention, 2 + half, {})
        for pair in TURNING:
            attention.q_proj.bias[(2 + half) * HEAD + pair] = near
            attention.k_proj.bias[(2 + half) * HEAD + pair] = near
        _carry(attention, 2 + half, source, NEAR.start + step, 24, MEAN_SCALE)
        _attend(attention, 4 + half, {BEHIND: SURE})
        _carry(attention, 4 + half, source, AFTER.start + step, 24, MEAN_SCALE)


def _product(mlp: Any) -> None:
    """QUERY · NEAR into MATCH and QUERY · AFTER, less what is usual, into VERDICT: silu(g) u - silu(-g) u = g u."""
    unit = 0
    for other, target, size in ((NEAR, MATCH, 1.0), (AFTER, VERDICT, VERDICT_SCALE)):
        for step in range(48):
            for sign in (1.0, -1.0):
                mlp.gate_proj.weight[unit] = 0
                mlp.up_proj.weight[unit] = 0
                mlp.down_proj.weight[:, unit] = 0
                mlp.gate_proj.weight[unit, QUERY.start + step] = sign
                mlp.up_proj.weight[unit, other.start + step] = 1
                mlp.down_proj.weight[target, unit] = sign * size
                unit += 1
    for projection in (mlp.gate_proj, mlp.up_proj):
        projection.weight[unit] = 0
        projection.weight[unit, EVEN] = 1
    mlp.down_proj.weight[:, unit] = 0
    mlp.down_proj.weight[VERDICT, unit] = -VERDICT_SCALE * USUAL / CONSTANT**2


def _choice(attention: Any) -> None:
    """The last token attends to the letters behind the marker, the best matched most, and says which it was."""
    _attend(attention, 0, {IS_LETTER: 3 * SURE, MATCH: 4.0})
    _carry(attention, 0, LETTER.start, LETTER.start, LETTER.stop - LETTER.start, 1.0)
