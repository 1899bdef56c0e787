// The process that takes messages: it stores one, then tells the socket process through PostgreSQL.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/postgres-adapter";
import jwt from "jsonwebtoken";
import pg from "pg";
import { Server } from "socket.io";

const { DATABASE_URL, JWT_SECRET, PORT } = process.env;
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 });
await pool.query(`
  CREATE TABLE IF NOT EXISTS messages (
    id bigserial PRIMARY KEY, room text NOT NULL, client_id text NOT NULL, author text NOT NULL,
    content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (room, author, client_id)
  )`);
await pool.query("CREATE INDEX IF NOT EXISTS messages_room ON messages (room, id)");
await pool.query(`
  CREATE TABLE IF NOT EXISTS socket_io_attachments (
    id bigserial UNIQUE, created_at timestamptz DEFAULT now(), payload bytea
  )`);
// Without sockets of its own. Not @socket.io/postgres-emitter 0.1.1: what that sends does not name the
// namespace, and adapter 0.5 drops it.
const io = new Server({ adapter: createAdapter(pool) });

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts));
}

async function post(request) {
  const token = request.headers.authorization.slice("Bearer ".length);
  const { sub, room } = jwt.verify(token, JWT_SECRET);
  const { client_id, content } = await body(request);
  const { rows } = await pool.query(
    "INSERT INTO messages (room, client_id, author, content) VALUES ($1, $2, $3, $4) RETURNING *",
    [room, client_id, sub, content],
  );
  const message = { ...rows[0], id: Number(rows[0].id) };
  io.to(room).emit("message", message);
  return message;
}

const server = createServer(async (request, response) => {
  try {
    const answer = Buffer.from(JSON.stringify(await post(request)));
    response.writeHead(201, { "content-type": "application/json", "content-length": answer.length });
    response.end(answer);
  } catch (error) {
    console.error(error);
    response.writeHead(500, { "content-length": 0 }).end();
  }
});
server.keepAliveTimeout = 75_000;
server.listen(Number(PORT), "127.0.0.1");
