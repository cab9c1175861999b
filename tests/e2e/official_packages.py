"""The official packages, in a process of their own that is told no more than what ``fabric config`` prints."""

from __future__ import annotations

import os
import subprocess
import sys

_ASK = '[{"role": "user", "content": "Say hello."}]'
_ALL = "import json, os, sys\nmessages = json.loads(sys.argv[1])\n"
_FROM_ENV = {
    "openai": """
import openai
client, model = openai.OpenAI(max_retries=1, timeout=120), os.environ["OPENAI_MODEL"]
""",
    "anthropic": """
import anthropic
client, model = anthropic.Anthropic(max_retries=1, timeout=120), os.environ["model"]
""",
    "ollama": """
import ollama
client, model = ollama.Client(timeout=120), os.environ["model"]
""",
}
_FROM_JSON = {
    "openai": """
import openai
told = json.loads(sys.argv[2])
model, key = told["model"], told.get("api_key", "none")
client = openai.OpenAI(base_url=told["base_url"], api_key=key, max_retries=1, timeout=120)
""",
    "anthropic": """
import anthropic
told = json.loads(sys.argv[2])
model, root, key = told["model"], told["base_url"].removesuffix("/v1"), told.get("api_key", "none")
client = anthropic.Anthropic(base_url=root, auth_token=key, max_retries=1, timeout=120)
""",
    "ollama": """
import ollama
told = json.loads(sys.argv[2])
model, client = told["model"], ollama.Client(told["base_url"].removesuffix("/v1"), timeout=120)
""",
}
_CALL = {
    "openai": "client.chat.completions.create(model=model, max_tokens=8, messages=messages).usage.completion_tokens",
    "anthropic": "client.messages.create(model=model, max_tokens=8, messages=messages).usage.output_tokens",
    "ollama": "client.chat(model, messages, options={'num_predict': 8}).eval_count",
}


def tokens_from_env(package: str, text: str) -> int:
    """Return how many tokens the model answered where a shell has evaluated ``text``; a key for elsewhere is set."""
    elsewhere = {"OPENAI_API_KEY": "sk-elsewhere", "ANTHROPIC_API_KEY": "sk-elsewhere"}
    return _tokens(package, _FROM_ENV[package], text, elsewhere)


def tokens_from_json(package: str, text: str) -> int:
    """Return how many tokens the model answered a program that reads ``text``."""
    return _tokens(package, _FROM_JSON[package], "", {}, text)


def _tokens(package: str, connect: str, shell: str, variables: dict[str, str], *words: str) -> int:
    program = f"{_ALL}{connect}print({_CALL[package]})"
    command = ["/bin/sh", "-euc", f'{shell}\nexec "$0" "$@"', sys.executable, "-c", program, _ASK, *words]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
