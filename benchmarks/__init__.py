"""Measurements of speed and memory, as ratios taken side by side in one run.

``python -m benchmarks`` runs all of them and writes ``docs/performance.md``; each also runs alone, for example
``python -m benchmarks.panel --rows 1e6``.
"""
