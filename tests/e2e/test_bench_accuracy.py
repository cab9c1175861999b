"""What ``fabric bench`` reports, beside what the real engine says of the same requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.measured]

LIMIT = 0.01
PROMPT_TOKENS, OUTPUT_TOKENS, REPEATS = 48, 48, 3


@pytest.fixture(scope="module")
def measured(served: Served) -> Any:
    """One run at concurrency 1 and 2."""
    sizes = ("--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS))
    return served.fabric.succeed("bench", "--concurrency", "1,2", "--repeats", str(REPEATS), *sizes)


def test_output_tokens_per_second_agree_with_the_engine(measured: Any) -> None:
    """Within 1 % at concurrency 1, also where other processes disturb: both saw the same requests."""
    alone = measured["levels"][0]
    assert alone["concurrency"] == 1
    engine = measured["engine_reported"]["output_tokens_per_s"]
    assert engine == alone["engine_reported"]["output_tokens_per_s"]
    assert alone["output_tokens_per_s"] == pytest.approx(engine, rel=LIMIT)


def test_a_single_request_agrees_at_every_concurrency(measured: Any) -> None:
    for level in measured["levels"]:
        engine = level["engine_reported"]["output_tokens_per_s"]
        assert level["request_output_tokens_per_s"] == pytest.approx(engine, rel=LIMIT)


def test_each_request_agrees_by_its_own_moments(measured: Any) -> None:
    """From the saved report, without the code that made the figures."""
    saved = json.loads(Path(measured["report"]).read_text(encoding="utf-8"))
    requests = [request for sample in saved["levels"][0]["samples"] for request in sample["requests"]]
    ratios = []
    for request in requests:
        first, last = request["chunks_at_ms"][0], request["chunks_at_ms"][-1]
        ours = (request["output_tokens"] - 1) / (last - first) * 1e3
        ratios.append(ours / request["engine"]["output_tokens_per_s"])
        assert first > request["engine"]["prompt_ms"]
    assert sorted(ratios)[len(ratios) // 2] == pytest.approx(1, rel=LIMIT)


def test_requests_are_what_was_asked_for_and_cold(measured: Any) -> None:
    for level in measured["levels"]:
        assert level["errors"] == 0
        assert level["requests"] == REPEATS * 4
        assert level["prompt_tokens"]["p50"] == pytest.approx(PROMPT_TOKENS, abs=1)
        assert level["output_tokens"]["p50"] == level["output_tokens"]["max"] == OUTPUT_TOKENS
        assert level["cached_prompt_tokens"] == 0


def test_figures_fit_together(measured: Any) -> None:
    for level in measured["levels"]:
        ttft, e2e = (level[name]["p50"] for name in ("ttft_ms", "e2e_ms"))
        assert 0 < ttft < e2e
        assert 0 < level["itl_ms"]["p50"] < e2e
        assert level["tpot_ms"]["mean"] == pytest.approx(1000 / level["request_output_tokens_per_s"], rel=1e-3)
        assert level["system_output_tokens_per_s"] < level["output_tokens_per_s"]
        assert level["foreign_cpu_share"] is None or 0 <= level["foreign_cpu_share"] <= 1
        assert level["client"]["cpu_us_per_read"] > 0


def test_smoke_passes_on_the_real_model(served: Served) -> None:
    smoke = served.fabric.succeed("smoke")
    assert smoke["ok"] is True
    assert [check["name"] for check in smoke["checks"]] == ["models", "chat", "stream", "json_schema"]
    assert all(check["ok"] for check in smoke["checks"])
