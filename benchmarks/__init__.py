"""How fast gridgrad is, against its peers and against a plain copy: `python -m benchmarks`.

One table of cases (`cases.py`) drives everything. Each peer (`peers.py`) computes each case. Its result is
compared with gridgrad's (`checking.py`) before anything is timed (`timing.py`).
"""
