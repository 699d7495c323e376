"""Programs that show what the harness claims of itself; each prints a table and writes JSON.

python -m edgekd.benchmarks.trials.NAME --json benchmarks/results/NAME.json
"""
