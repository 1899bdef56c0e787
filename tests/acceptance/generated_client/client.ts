/**
 * Send one message and wait for the reply, with nothing but the classes made of the document.
 *
 *     node client.js URL CONVERSATION CONTENT
 *
 * The access token stands in TOKEN. What was received is printed as JSON. The generator's names
 * differ from the fields' own: camel case, and `reserved…` for words that browsers know otherwise.
 */

import { ErrorFrame } from "./models/ErrorFrame";
import { HeartbeatAnswer } from "./models/HeartbeatAnswer";
import { Hello } from "./models/Hello";
import type { MessageState } from "./models/MessageState";
import { MessageUpdated } from "./models/MessageUpdated";
import { ReplyDelta } from "./models/ReplyDelta";
import { SendMessage } from "./models/SendMessage";
import { SendMessageAck } from "./models/SendMessageAck";
import { Subscribe } from "./models/Subscribe";
import { SubscribeAck } from "./models/SubscribeAck";

const [url = "", conversation = "", content = ""] = process.argv.slice(2);
const socket = new WebSocket(url, ["chatire.v1", `bearer.${process.env.TOKEN}`]);
let hello: Hello | undefined;
let subscribed: SubscribeAck | undefined;
let sent: SendMessageAck | undefined;
let streamed = "";
const ended = new Map<string, MessageState>();

function receive(text: string): void {
  const { type, id } = JSON.parse(text);
  if (type === "hello") {
    hello = Hello.unmarshal(text);
    socket.send(new Subscribe({ id: "subscribing", conversation }).marshal());
  } else if (type === "ack" && id === "subscribing") {
    subscribed = SubscribeAck.unmarshal(text);
    socket.send(
      new SendMessage({ id: "sending", clientId: "generated", conversation, content }).marshal(),
    );
  } else if (type === "ack" && id === "sending") {
    sent = SendMessageAck.unmarshal(text);
  } else if (type === "reply.delta") {
    streamed += ReplyDelta.unmarshal(text).reservedText;
  } else if (type === "message.updated") {
    const { message } = MessageUpdated.unmarshal(text);
    if (message.finishReason) ended.set(message.id, message);
  } else if (type === "ping") {
    socket.send(new HeartbeatAnswer({}).marshal());
  } else if (type === "error") {
    throw new Error(ErrorFrame.unmarshal(text).code);
  }
}

function finish(): void {
  const reply = sent?.reply && ended.get(sent.reply.id);
  if (!reply) return;
  const told = {
    protocol: hello?.protocol,
    user: hello?.user.reservedName,
    conversation: subscribed?.changes.conversation.id,
    message: sent?.message.id,
    reply: { id: reply.id, content: reply.content, answers: reply.reservedParent },
    streamed,
  };
  console.log(JSON.stringify(told));
  socket.close();
}

socket.onmessage = ({ data }) => {
  receive(String(data));
  finish();
};
socket.onclose = ({ code, reason }) => {
  if (code !== 1000 && code !== 1005) throw new Error(`closed with ${code} ${reason}`);
};
