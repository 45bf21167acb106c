"""Benchmarks and evaluation of a running stack."""
