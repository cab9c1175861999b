"""What each figure of ``bench`` means, in the words that are printed with it. ``latency.py`` holds the formulas."""

from __future__ import annotations

_DEFINITIONS = {
    "ttft_ms": "time to first token: from just before the request is written to the first piece of output read "
    "from the socket; reasoning and tool calls are output, an empty first chunk is not",
    "ttft_visible_ms": "the same to the first piece of the answer itself, after any reasoning",
    "tpot_ms": "time per output token of one request: (last - first token) / (n - 1)",
    "itl_ms": "inter-token latency: gaps between tokens; null where a chunk can hold more or less than one",
    "inter_chunk_ms": "gaps between chunks of output, however many tokens each holds",
    "e2e_ms": "end-to-end latency: from just before the request is written to the end of the answer",
    "output_tokens_per_s": "decode throughput: tokens after the first of each request / time in which at least "
    "one request is being decoded; at concurrency 1 the sum of (n - 1) over the sum of (last - first token)",
    "request_output_tokens_per_s": "what a single request gets: sum of (n - 1) / sum of (last - first token)",
    "system_output_tokens_per_s": "all output tokens / whole time, with prefill, queueing, ramp and drain",
    "requests_per_s": "answered requests / whole time",
    "engine_reported": "the engine's own timings of the same requests, each weighted by its time; compare "
    "output_tokens_per_s with request_output_tokens_per_s",
    "tokens": "counted by the server (usage), the chat template included; never by chunks",
    "cached_prompt_tokens": "prompt tokens that the prefix cache answered, all requests together; each prompt "
    "begins with words of its own, so more than the template's few means that TTFT is not that of a cold prompt",
    "percentiles": "linear between order statistics; p is given only where n (1 - p) >= 1, so p90 needs 10 and "
    "p99 needs 100 values",
    "load": "closed loop: each of C clients sends its next request when its last is answered, over connections "
    "of their own; one discarded warm-up request before each level; the engine's default sampling",
    "disturbed": "other processes took more than {limit} of the machine's processor time during a sample; "
    "such a sample is taken again, a bounded number of times, and flagged where that did not help",
    "client": "cpu_us_per_read is what reading costs; lag_us is how long, on average, a thread with bytes to "
    "read waited for a processor; lagging where that is more than 5 % of the median tpot_ms",
}


def definitions(max_foreign_cpu_share: float) -> dict[str, str]:
    """Return each definition by the name of its figure; the argument is the share that a report was made with."""
    return {name: text.replace("{limit}", f"{max_foreign_cpu_share:.0%}") for name, text in _DEFINITIONS.items()}
