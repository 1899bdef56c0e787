/**
 * Send one message and wait for the reply, with a client off the shelf.
 *
 *     node chat.mjs ws|partysocket URL CONVERSATION CONTENT [PROTOCOL …]
 *
 * With AUTHORIZATION set, it is sent as that header. What was received is printed as JSON.
 */

import ReconnectingWebSocket from "partysocket/ws";
import WebSocket from "ws";

const [client, url, conversation, content, ...protocols] = process.argv.slice(2);
const authorization = process.env.AUTHORIZATION;
const told = { streamed: "", reply: null, closed: null, protocol: null };
let reply;

/** What to answer to a frame; null for nothing, undefined once the reply has ended. */
function answer(frame) {
  if (frame.type === "error") throw new Error(JSON.stringify(frame));
  if (frame.type === "hello") told.protocol = socket.protocol;
  if (frame.type === "hello" && !url.includes("/conversations/")) {
    return { type: "subscribe", id: "subscribe", conversation };
  }
  if (frame.type === "ack" && frame.id === "subscribe") {
    return { type: "message.send", id: "send", client_id: "foreign", conversation, content };
  }
  if (frame.type === "ack" && frame.id === "send") reply = frame.reply.id;
  if (frame.type === "reply.delta" && frame.message === reply) told.streamed += frame.text;
  if (frame.type === "ping") return { type: "pong" };
  if (frame.type === "message.updated" && frame.message.finish_reason) {
    told.reply = frame.message.content;
    return undefined;
  }
  return null;
}

const socket =
  client === "ws"
    ? new WebSocket(url, protocols, authorization ? { headers: { authorization } } : {})
    : // A second try would hide that the first had failed.
      new ReconnectingWebSocket(url, protocols, { maxRetries: 0 });

socket.addEventListener("message", ({ data }) => {
  const said = answer(JSON.parse(data));
  if (said) socket.send(JSON.stringify(said));
  if (said === undefined) socket.close(1000);
});
socket.addEventListener("error", ({ message }) => {
  throw new Error(message);
});
socket.addEventListener("close", ({ code }) => {
  told.closed = code;
  console.log(JSON.stringify(told));
});
