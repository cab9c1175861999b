"""A file of a user's own models: one that Ollama and vLLM have under their own names."""

from __future__ import annotations

TAG, REPOSITORY = "team/house:7b", "Team/House"
HOUSE = f"""version: 1
models:
  - name: house-model
    license: MIT
    tier_gb: 1
    parameters: 1.0e+9
    shape: {{architecture: llama, layers: 1, heads_kv: 1, key_length: 1, value_length: 1, context_length: 1}}
    engines:
      ollama: {{reference: "ollama:{TAG}", format: gguf, size_bytes: 1}}
      vllm: {{reference: "hf:{REPOSITORY}", format: safetensors, size_bytes: 1}}
"""
