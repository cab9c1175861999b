"""Measurements that a person can repeat. They print ratios taken within one run, because machines are noisy."""
