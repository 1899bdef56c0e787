import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Changes } from "../src/client/protocol";
import { hasGap, type Input, messageText, reduce } from "../src/client/reducer";
import { changes, events, loaded, shown } from "./conversation";
import { Room } from "./room";

type Step =
  | {
      do: (typeof CHANGES)[number];
      at: number;
    }
  /** What waits arrives: in a shuffled order, some of it twice, some of it never. */
  | { do: "deliver"; order: number[]; lost: boolean[]; twice: boolean[] }
  | { do: "reconnect" | "overlap" };

const CHANGES = [
  ...(["say", "ask", "claim", "stream", "stream", "stream", "end", "resume", "edit"] as const),
  ...(["rename", "call", "join", "crowd"] as const),
];
const change = fc.record({
  do: fc.constantFrom(...CHANGES),
  at: fc.nat(99),
});
const delivery = fc.record({
  do: fc.constant("deliver" as const),
  order: fc.array(fc.nat(99), { minLength: 8, maxLength: 8 }),
  lost: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
  twice: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
});
const connection = fc.record({ do: fc.constantFrom("reconnect" as const, "overlap" as const) });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { arbitrary: change as fc.Arbitrary<Step>, weight: 6 },
    { arbitrary: delivery as fc.Arbitrary<Step>, weight: 3 },
    { arbitrary: connection as fc.Arbitrary<Step>, weight: 1 },
  ),
  { maxLength: 60, size: "max" },
);

function act(room: Room, step: Extract<Step, { at: number }>, name: string): void {
  const pick = (ids: string[]) => ids[step.at % Math.max(ids.length, 1)];
  const ids = [...room.messages.keys()];
  const streaming = pick(room.streaming());
  switch (step.do) {
    case "say":
      room.say(name);
      break;
    case "ask":
      room.say(name, { status: "pending", content: "", role: "assistant" });
      break;
    case "claim": {
      // Also of one that streams already: its worker died and another takes over.
      const waiting = pick(
        ids.filter((id) => ["pending", "streaming"].includes(room.messages.get(id)?.status ?? "")),
      );
      if (waiting) room.claim(waiting);
      break;
    }
    case "stream":
      if (streaming) room.stream(streaming, `${name} `);
      break;
    case "end":
      if (streaming) room.end(streaming, step.at % 2 ? "complete" : "failed");
      break;
    case "resume": {
      const failed = pick(ids.filter((id) => room.messages.get(id)?.status === "failed"));
      if (failed) room.resume(failed);
      break;
    }
    case "edit": {
      const edited = pick(ids.filter((id) => room.messages.get(id)?.status === "complete"));
      if (edited) room.change(edited, { content: `edited ${name}` });
      break;
    }
    case "rename":
      room.rename(name);
      break;
    case "join":
      room.join(name);
      break;
    case "crowd":
      room.crowd((step.at % 3) + 1);
      break;
    case "call": {
      const member = pick([...room.members.keys()]);
      if (member) room.call(member, name);
      break;
    }
  }
}

describe("whatever happens on the way", () => {
  test("a client ends with what the server has, never having shown text twice or out of order", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const room = new Room();
        let known = loaded(room);
        let delivered = 0;
        /** An answer that the server has read, and that is still on its way. */
        let answer: Changes | null = null;

        const take = (inputs: Input[]) => {
          for (const input of inputs) {
            known = reduce(known, input);
            // At every moment a reply shows a beginning of what its attempt said.
            for (const [id, stream] of Object.entries(known.streams)) {
              const said = room.events
                .filter(
                  (event) =>
                    event.type === "reply.delta" &&
                    event.message === id &&
                    event.attempt === stream.attempt,
                )
                .map((event) => (event.type === "reply.delta" ? event.text : ""))
                .slice(0, stream.index)
                .join("");
              expect(stream.text).toBe(said);
            }
            // What a reply said before it was continued never vanishes.
            for (const message of Object.values(known.messages)) {
              const { text } = messageText(message, known.streams[message.id]);
              expect(text.startsWith(message.content)).toBe(true);
            }
            expect(known.seq).toBeLessThanOrEqual(room.state.seq);
          }
        };

        list.forEach((step, number) => {
          if ("at" in step) {
            act(room, step, `n${number}`);
          } else if (step.do === "deliver") {
            const waiting = room.events.slice(delivered);
            delivered = room.events.length;
            const order = waiting
              .map((event, at) => ({ event, at, key: step.order[at % 8] ?? 0 }))
              .sort((a, b) => a.key - b.key)
              .filter(({ at }) => !step.lost[at % 8])
              .flatMap(({ event, at }) => (step.twice[at % 8] ? [event, event] : [event]));
            take(events(order));
          } else if (step.do === "reconnect") {
            delivered = room.events.length;
            take([{ type: "subscribing" }, changes(answer ?? room.changes(known.seq))]);
            answer = null;
          } else {
            // Asked now; more happens before the answer arrives.
            take([{ type: "subscribing" }]);
            answer = room.changes(known.seq);
          }
        });
        if (answer) take([changes(answer)]);
        for (let complete = false; !complete; ) {
          const last = room.changes(known.seq, 2);
          take([{ type: "subscribing" }, changes(last)]);
          complete = last.complete;
        }

        expect(hasGap(known)).toBe(false);
        expect(known.seq).toBe(room.state.seq);
        expect(shown(known)).toEqual(room.shown());
        expect(known.state?.title).toBe(room.state.title);
        expect(known.members).toEqual(Object.fromEntries(room.members));
        // The same as what a client sees that comes now.
        const fresh = loaded(Object.assign(room, { page: 1000 }));
        expect({ ...known, state: null }).toEqual({ ...fresh, state: null });
      }),
      { numRuns: 2000 },
    );
  });
});
