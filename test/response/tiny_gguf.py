"""`python tiny_gguf.py FILE` writes a llama of 2 MB as GGUF that says "A red cup falls." to everything.

Each token's output row is the embedding of the token before it in the answer, and the layers between add
nothing, so that one follows from the other. Needs the package gguf.
"""

from __future__ import annotations

import itertools
import sys

import gguf
import numpy as np

WIDTH, HEADS, LENGTH = 256, 4, 8192
ANSWER = ["\u2581A", "\u2581red", "\u2581cup", "\u2581falls", "."]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LAST = ":"  # of the prompt
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}assistant:"


def main(path: str) -> None:
    tokens = [*SPECIAL, *BYTES, *ANSWER, LAST]
    kinds = [gguf.TokenType.UNKNOWN, *2 * [gguf.TokenType.CONTROL], *256 * [gguf.TokenType.BYTE]]
    kinds += (len(ANSWER) + 1) * [gguf.TokenType.NORMAL]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)

    embedding = np.random.default_rng(0).choice([-1.0, 1.0], (len(tokens), WIDTH)).astype(np.float32)
    output = np.zeros_like(embedding)
    chain = [LAST, *ANSWER, "</s>"]
    for before, after in itertools.pairwise(chain):
        output[tokens.index(after)] = embedding[tokens.index(before)]
    nothing = np.zeros((WIDTH, WIDTH), np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", nothing)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
