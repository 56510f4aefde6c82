"""The benchmark: this server and its peers under the same load, side by side, and what came of it as a page with charts.

`load/` is the load client in C, `peers/` the programs that the server is compared with, `cases.py` what is measured and what is
promised. `run.py` measures, `report.py` and `charts.py` tell. Start with `make bench` and README.md in this folder.
"""
