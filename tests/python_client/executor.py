"""An executor that a test kills: publishes what it is told, line by line of its standard input.

python -m tests.python_client.executor <Redis> <spool>
"""

import sys
from typing import Any

from workflow_events import Publisher


def main() -> None:
    publisher = Publisher.to_redis(sys.argv[1], spool=sys.argv[2])
    print(publisher.stats.pending, flush=True)
    for line in sys.stdin:
        fields: dict[str, Any] = {"type": "step", "execution_id": "exec_1", "workflow_id": "killed", "number": int(line)}
        publisher.emit(fields)
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
