// The process that holds the sockets. Who comes back says what it knows and is given the rest.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/postgres-adapter";
import jwt from "jsonwebtoken";
import pg from "pg";
import { Server } from "socket.io";

const { DATABASE_URL, JWT_SECRET, PORT } = process.env;
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 });
const server = createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false });
io.adapter(createAdapter(pool));
// As its documentation advises where memory counts.
io.engine.on("connection", (raw) => {
  raw.request = null;
});

io.use((socket, next) => {
  try {
    socket.data.room = jwt.verify(socket.handshake.auth.token, JWT_SECRET).room;
    next();
  } catch (error) {
    next(error);
  }
});

io.on("connection", async (socket) => {
  const { room } = socket.data;
  const { since } = socket.handshake.auth;
  socket.on("alive", (answer) => answer());
  await socket.join(room);
  let missed = [];
  if (since !== undefined) {
    const { rows } = await pool.query(
      "SELECT * FROM messages WHERE room = $1 AND id > $2 ORDER BY id LIMIT 500",
      [room, since],
    );
    missed = rows.map((row) => ({ ...row, id: Number(row.id) }));
  }
  socket.emit("joined", missed);
});

server.listen(Number(PORT), "127.0.0.1");
