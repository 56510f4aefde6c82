"""The wire protocols as pure state machines: frames and the time go in, frames and actions come out. No I/O, no event loop.

frames            RFC 6455 frames as a server sends them
engineio_codec    Engine.IO 4 packets and long-polling payloads
engineio_request  Engine.IO 4 requests and the errors that clients know
engineio          one Engine.IO session with its heartbeat and its upgrade
socketio_codec    Socket.IO 5 packets with attachments
socketio          the Socket.IO namespaces of one connection
errors            what a peer that breaks a protocol causes
"""
