"""The soak: a whole system under load and under faults, and the check of every stream that came out of it.

plan        what is asked for: rates, numbers of clients and processes, faults
processes   the Redis, servers and relays of the soak, and what can be done to them
traffic     numbered runs of workflows, as events
publisher   puts them on the bus; each exactly once, whatever happens to Redis
wire        a client's side of WebSocket and HTTP                                (pure)
transports  Engine.IO over WebSocket and over long-polling, as a client
client      one client: subscribes, comes back after every cut, resumes
ledger      what was published against what came: lost, doubled, disordered      (pure)
latency     latencies in a fixed amount of memory                                (pure)
faults      what is done to the system meanwhile
report      the tables and the JSON
conductor   all of it, from start to end

abuse          a soak whose one fault is an attack: quiet, hostile, quiet again
hostile        the attackers, one function per kind; they run in a process of their own
abuse_report   the tables and the JSON of that
"""
