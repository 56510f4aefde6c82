"""The Node examples as they stand: one publishes, the other follows."""

import os
from pathlib import Path

from tests.conftest import ROOT
from tests.system.stack import Program, Stack, await_condition

TYPES = ["execution_started", "node_started", "node_completed", "node_started", "node_completed", "execution_completed"]


def node(example: str, *argv: str, folder: Path, token: str) -> Program:
    environment = {"PATH": os.environ["PATH"], "WS_AUTH_TOKEN": token}
    return Program(["node", str(ROOT / "examples" / example), *argv], environment, folder / f"{example}-{token}.log")


def test_one_publishes_and_the_other_follows(tmp_path: Path) -> None:
    with Stack(tmp_path, WS_AUTH_TOKEN="right") as stack:
        server = stack.serve()
        refused = node("publish_event.mjs", "node_wf", server.url, folder=tmp_path, token="wrong")
        assert refused.wait() == 1
        assert "execution_started was not published" in refused.log

        follower = node("node_client.mjs", "node_wf", server.url, folder=tmp_path, token="right")
        try:
            await_condition(lambda: "Connected as" in follower.log, lambda: follower.log)
            publisher = node("publish_event.mjs", "node_wf", server.url, folder=tmp_path, token="right")
            assert publisher.wait() == 0, publisher.log
            await_condition(lambda: TYPES[-1] in follower.log, lambda: follower.log)
            lines = [line for line in follower.log.splitlines() if "exec_node_wf_" in line]
            assert [line.split()[2] for line in lines] == TYPES
        finally:
            follower.kill()
