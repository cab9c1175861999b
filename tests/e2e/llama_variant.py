"""The real llama.cpp with settings of a test's own, beside the server that ``fabric up`` has installed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.standin.command import eventually

# SmolLM2's own template knows no tools, and llama.cpp then ignores them. With this one a call is the JSON alone.
TEMPLATE_WITH_TOOLS = """\
{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '\\n</tools>\\n\\nFor each function call, return a json object:\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
WITH_EMBEDDINGS = {"embedding": True, "pooling_type": 1}  # the mean of all tokens


@contextmanager
def serving_variant(prefix: Path, place: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """Serve the model that is set up in ``prefix`` with ``settings`` besides; give the base URL.

    ``place`` is a directory for what belongs to it.
    """
    generation = prefix / "current"
    parameters = json.loads((generation / "parameters.json").read_text(encoding="utf-8"))
    changed = {"port": 0, **settings}
    kept = [each for each in parameters["settings"] if not changed.keys() & set(each["names"])]
    added = [{"names": [name], "value": value, "required": True} for name, value in changed.items()]
    own = place / "parameters.json"
    own.write_text(json.dumps({**parameters, "settings": [*kept, *added]}), encoding="utf-8")
    server = json.loads((generation / "server.json").read_text(encoding="utf-8"))
    argv = [*server["argv"][:-1], str(own)]
    log = place / "server.log"
    with log.open("wb") as sink, subprocess.Popen(argv, env=server["env"], stdout=sink, stderr=sink) as process:
        try:
            eventually(lambda: "listening on" in log.read_text(encoding="utf-8", errors="replace"))
            said = log.read_text(encoding="utf-8", errors="replace")
            yield said.rpartition("listening on ")[2].split()[0].removesuffix("/") + "/v1"
        finally:
            process.terminate()
