"""Programs that check the claims about the harness; each prints a table and writes JSON.

python -m edgekd.benchmarks.trials.NAME --json benchmarks/results/NAME.json
"""
