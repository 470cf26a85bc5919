"""The Qwen3-VL checkpoint family: files, weights, tokenizer, vision tower, decoder; without transformers."""
