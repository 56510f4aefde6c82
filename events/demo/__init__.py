"""A stand-in for a trading platform: publishes made-up workflow runs at a chosen rate, so that there is something to see.

catalogue.py  the workflows, and a market whose prices wander
script.py     one run as a list of timed events    (pure, seeded)
executor.py   many runs at once, paced by a clock
outlets.py    where `manage.py demo` publishes them, and progress.py what it shows
"""

from events.demo.executor import DemoExecutor, Timing

__all__ = ["DemoExecutor", "Timing"]
