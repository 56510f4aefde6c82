"""Carries workflow events from executors to Socket.IO clients: each one once, in order, or the client is told what it misses.

    executor -> bus/ -> fanout/relay.py -> history/ -> channel_groups.py -> fanout/hub.py -> fanout/session.py -> socket

domain/    what an event, a topic and a position are             (pure: standard library and orjson)
protocol/  Engine.IO 4, Socket.IO 5 and WebSocket frames         (pure: bytes in, packets out)
ports.py   what the fan-out needs from the world, with each guarantee written out
bus/ history/ clients/ lease/ state/   the ports on memory and on Redis, one file per backend
fanout/    relay, hub, session, writer                           (knows neither Django, Channels nor Redis)
wiring.py  the one place that knows everybody
consumers.py commands.py publish.py stats.py management/   the doors: sockets, code, monitoring, operators
"""
