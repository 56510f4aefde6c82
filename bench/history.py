"""How far a server of ours has come, asked as a client asks."""

import json
import urllib.error
import urllib.request

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


class Follower:
    """One server process of ours, by its port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def healthy(self) -> bool:
        """Whether events flow."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def position(self) -> int:
        """Events that are in the history and that this process has seen; 0 while it cannot tell."""
        command = {"event": "subscribe_all_bots", "data": {"epoch": None, "offset": None}}
        try:
            # Live events come behind the answer. A client that does not take them in would not see its close answered for 10 s.
            with connect(f"ws://127.0.0.1:{self._port}/ws/events", max_size=None, max_queue=None) as socket:
                socket.send(json.dumps(command))
                while True:
                    message = json.loads(socket.recv(timeout=5))
                    if message["event"] == "subscribed":
                        return int(message["data"]["offset"])
        except (OSError, TimeoutError, WebSocketException):
            return 0
