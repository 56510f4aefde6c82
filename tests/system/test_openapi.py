"""The HTTP interface against its own description: requests are made from the OpenAPI schema, right and wrong ones, and every
answer has to be one that the schema knows."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.system.stack import Stack

TOKEN: Final = "described-and-kept"

#: Requests are made for so long.
SECONDS: Final = 8

#: What the schema allows is not always taken: that a reason is needed for some states only, that one topic at most may be
#: named, and lengths that are settings, are rules that it cannot say.
UNSAID: Final = "positive_data_acceptance"

#: Loading the schema and what makes requests takes most of a minute on a busy machine.
DEADLINE_S: Final = 150


@pytest.mark.timeout(DEADLINE_S)
def test_every_answer_is_one_that_the_schema_knows(tmp_path: Path) -> None:
    settings = {"WS_AUTH_TOKEN": TOKEN, "WS_MAX_AUTH_FAILURES": "1000000", "WS_PUBLISH_EVENTS_PER_S": "100000"}
    with Stack(tmp_path, None, **settings) as stack:
        assert stack.manage("migrate", "-v", "0").wait() == 0
        server = stack.serve()
        run = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/api/schema/"),
                *("--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--exclude-checks", UNSAID),
                *("--max-time", str(SECONDS), "--seed", "1", "--no-color", "--continue-on-failure"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
        assert "9 selected / 9 total" in run.stdout
        assert server.publish({})[0] == 401, "the token was asked for"
