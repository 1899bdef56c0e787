"""`make bench-edge`: how messages reach many sockets, beside what others build of, in one run.

Compared are Chatire on its own layer and on Redis, Socket.IO with its Postgres adapter, split alike
into a process that takes messages and one that holds sockets, and nchan, which stores nothing, asks
nobody who they are, and is near the least that the measuring client itself can take. All use one
PostgreSQL with durable commits. In a round all of them run, and each case asks one after the other;
those that wait take two hundredths of a core together. One process with one thread holds all
sockets and, while it is timed, does nothing with what they hear but to look for the message. It
shares the machine with what it measures: read the ratios, not the figures.

- fanout: the sockets of as many people open, at most 100 at a time, and follow one room; then ten
  messages a second are posted there, one at a time.
- idle: sockets of as many people in rooms of ten, a message a second over all; by how much the
  process that holds them has grown, of what it shares its part. Then it is killed and started
  again. Clients come back as docs/protocol.md tells them, with backoff, and ask for what they
  missed, their lists included. Sockets that are already back ping.
- post: one client posts to a room of two and a room of ten thousand people in turn. The statements
  of a message are counted by the server's log.

What a machine does not have is left out; as root, nchan and Redis are installed by apt.
"""
