// Node Socket.IO 4, used well: rooms, WebSocket without compression, the Redis subscriber in the server's own process.
//   node node.js PORT REDIS_PORT KINDS     KINDS: workflow, or workflow,bot,strategy for events that go to three rooms

const http = require("node:http");
const Redis = require("ioredis");
const { Server } = require("socket.io");

const [port, redisPort, kinds] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4].split(",")];

// The events of each topic that a new subscriber gets.
const RECENT = 100;
const recent = new Map();

const server = http.createServer();
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

function subscribe(socket, kind, data) {
  const id = data[`${kind}_id`];
  const room = `${kind}:${id}`;
  socket.join(room);
  socket.emit("subscribed", { type: kind, [`${kind}_id`]: id });
  const events = recent.get(room);
  if (events) socket.emit("recent_events", { events, count: events.length });
}

io.on("connection", (socket) => {
  socket.emit("connected", { sid: socket.id });
  for (const kind of kinds) socket.on(`subscribe_${kind}`, (data) => subscribe(socket, kind, data));
});

function remember(room, event) {
  let events = recent.get(room);
  if (!events) recent.set(room, (events = []));
  events.push(event);
  if (events.length > RECENT) events.shift();
}

const bus = new Redis(redisPort);
bus.on("message", (_channel, text) => {
  const event = JSON.parse(text);
  const rooms = kinds.map((kind) => `${kind}:${event[`${kind}_id`]}`);
  for (const room of rooms) remember(room, event);
  io.to(rooms.length === 1 ? rooms[0] : rooms).emit("workflow_event", event);
});

// The default backlog of 511 would make a storm of connections wait for SYN retransmits.
server.listen({ port, host: "127.0.0.1", backlog: 4096 }, () => bus.subscribe("workflow_events"));
