"""Latency and memory: each file in a runtime, each runtime in a process of its own."""
