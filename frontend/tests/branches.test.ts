import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  branchOf,
  choose,
  NEWEST,
  type Place,
  settled,
  type Tree,
  treeOf,
} from "../src/app/conversation/branches";
import { endOf, outgoingOf, type Reading } from "../src/app/conversation/reading";
import { turnsOfBranch } from "../src/app/conversation/turns";
import type { MessageState, Outgoing } from "../src/client";
import { aMessage, ROOM } from "./room";

/** Messages in their order: `q1` is asked, `a1<q1` follows it. Questions begin with `q`. */
function said(...names: string[]): MessageState[] {
  return names.map((name, at) => {
    const [id = "", parent = null] = name.split("<");
    const role = id.startsWith("q") ? "user" : "assistant";
    return aMessage({ id, parent, role, created_seq: at + 1 });
  });
}

function message(messages: readonly MessageState[], id: string): MessageState {
  const found = messages.find((one) => one.id === id);
  if (!found) throw new Error(`no message ${id}`);
  return found;
}

function path(tree: Tree, place: Place = NEWEST): string[] {
  return branchOf(tree, place).map((step) => step.message.id);
}

/** One went to these, one after another. */
function went(messages: MessageState[], ...ids: string[]): Place {
  const tree = treeOf(messages);
  return ids.reduce((place, id) => settled(tree, choose(place, message(messages, id))), NEWEST);
}

const PLAIN = said("q1", "a1<q1", "q2<a1", "a2<q2");
/** The second question was reworded, and talked about. */
const REWORDED = [
  ...PLAIN,
  ...said("", "", "", "", "q2b<a1", "a2b<q2b", "q3<a2b", "a3<q3").slice(4),
];

describe("branches", () => {
  test("without variants there is one, and it has everything", () => {
    expect(path(treeOf(PLAIN))).toEqual(["q1", "a1", "q2", "a2"]);
    expect(branchOf(treeOf(PLAIN), NEWEST).every((step) => step.siblings.length === 1)).toBe(true);
    expect(path(treeOf([]))).toEqual([]);
  });

  test("the one with the newest message is shown", () => {
    expect(path(treeOf(REWORDED))).toEqual(["q1", "a1", "q2b", "a2b", "q3", "a3"]);
    const went_on = [...REWORDED, aMessage({ id: "q4", parent: "a2", created_seq: 9 })];
    expect(path(treeOf(went_on))).toEqual(["q1", "a1", "q2", "a2", "q4"]);
  });

  test("wordings and answers have their siblings, oldest first", () => {
    const messages = [...REWORDED, aMessage({ id: "a3b", parent: "q3", created_seq: 9 })];
    const turns = turnsOfBranch(branchOf(treeOf(messages), NEWEST));
    expect(turns.map((turn) => [turn.shown?.id, turn.variants.map((one) => one.id)])).toEqual([
      ["q1", ["q1"]],
      ["a1", ["a1"]],
      ["q2b", ["q2", "q2b"]],
      ["a2b", ["a2b"]],
      ["q3", ["q3"]],
      ["a3b", ["a3", "a3b"]],
    ]);
  });

  test("a turn keeps its key, whichever of its variants is shown", () => {
    const keys = (place: Place) =>
      turnsOfBranch(branchOf(treeOf(REWORDED), place)).map((turn) => turn.key);
    expect(keys(went(REWORDED, "q2")).slice(0, 3)).toEqual(keys(NEWEST).slice(0, 3));
  });

  test("another wording of the first message is another branch from the start", () => {
    const messages = [...PLAIN, aMessage({ id: "q1b", created_seq: 5 })];
    expect(path(treeOf(messages))).toEqual(["q1b"]);
    expect(path(treeOf(messages), went(messages, "q1"))).toEqual(["q1", "a1", "q2", "a2"]);
  });

  test("a person who wrote on without waiting for the answer finds both", () => {
    const messages = said("q1", "a1<q1", "q2<q1");
    expect(path(treeOf(messages))).toEqual(["q1", "q2"]);
    expect(path(treeOf(messages), went(messages, "a1"))).toEqual(["q1", "a1"]);
  });
});

describe("choosing", () => {
  test("another wording shows what followed it, and back again", () => {
    const tree = treeOf(REWORDED);
    expect(path(tree, went(REWORDED, "q2"))).toEqual(["q1", "a1", "q2", "a2"]);
    expect(path(tree, went(REWORDED, "q2", "q2b"))).toEqual(path(tree));
  });

  test("of what follows the wording chosen, the newest is shown", () => {
    const messages = [...REWORDED, aMessage({ id: "a2c", parent: "q2", created_seq: 9 })];
    const elsewhere = [...messages, aMessage({ id: "q5", parent: "a3", created_seq: 10 })];
    expect(path(treeOf(elsewhere), went(elsewhere, "q2"))).toEqual(["q1", "a1", "q2", "a2c"]);
  });

  test("what was chosen further down is found again", () => {
    const messages = [
      ...REWORDED,
      aMessage({ id: "a2c", parent: "q2", created_seq: 9 }),
      aMessage({ id: "q5", parent: "a3", created_seq: 10 }),
    ];
    expect(path(treeOf(messages), went(messages, "q2", "a2", "q2b", "q2"))).toEqual([
      "q1",
      "a1",
      "q2",
      "a2",
    ]);
  });

  test("whoever has chosen stays there, whatever happens elsewhere", () => {
    const place = went(REWORDED, "q2");
    const later = [...REWORDED, aMessage({ id: "q1b", created_seq: 9 })];
    expect(settled(treeOf(later), place)).toBe(place);
    expect(path(treeOf(later), place)).toEqual(["q1", "a1", "q2", "a2"]);
  });

  test("whoever has not goes along with the newest", () => {
    const later = [...REWORDED, aMessage({ id: "q1b", created_seq: 9 })];
    expect(path(treeOf(later))).toEqual(["q1b"]);
  });

  test("whoever came back to the newest goes along with it again", () => {
    const place = went(REWORDED, "q2", "q2b");
    const later = [...REWORDED, aMessage({ id: "q1b", created_seq: 9 })];
    expect(path(treeOf(later), place)).toEqual(["q1b"]);
  });

  test("whoever writes on the branch chosen sees it there, and is where the newest is", () => {
    const place = went(REWORDED, "q2");
    const later = [...REWORDED, aMessage({ id: "q5", parent: "a2", created_seq: 9 })];
    expect(path(treeOf(later), place)).toEqual(["q1", "a1", "q2", "a2", "q5"]);
    expect(settled(treeOf(later), place).at).toBeNull();
  });

  test("a message that is gone, as after a restored backup, leaves one with the newest", () => {
    const place = went(REWORDED, "q2");
    expect(path(treeOf(PLAIN), { ...place, at: "gone" })).toEqual(["q1", "a1", "q2", "a2"]);
  });
});

describe("where only the newest history is loaded", () => {
  test("the branch begins after what is not loaded, and joins on when it is", () => {
    expect(path(treeOf(PLAIN.slice(2)))).toEqual(["q2", "a2"]);
    expect(path(treeOf(PLAIN))).toEqual(["q1", "a1", "q2", "a2"]);
  });

  test("wordings of a message whose own past is not loaded are siblings", () => {
    const tree = treeOf(REWORDED.slice(2));
    expect(path(tree)).toEqual(["q2b", "a2b", "q3", "a3"]);
    expect(branchOf(tree, NEWEST)[0]?.siblings.map((one) => one.id)).toEqual(["q2", "q2b"]);
    expect(path(tree, went(REWORDED.slice(2), "q2"))).toEqual(["q2", "a2"]);
  });

  test("of several beginnings, that of the newest message is shown", () => {
    // Two branches far apart, in turns; where they part is not loaded.
    const messages = said("q7<x", "q8<y", "a7<q7", "a8<q8", "q9<a7");
    expect(path(treeOf(messages))).toEqual(["q7", "a7", "q9"]);
  });

  test("what was chosen stays when older messages come", () => {
    const place = went(REWORDED.slice(4), "q2b");
    expect(path(treeOf(REWORDED), place)).toEqual(path(treeOf(REWORDED)));
    const chosen = went(REWORDED.slice(2), "q2");
    expect(path(treeOf(REWORDED), chosen)).toEqual(["q1", "a1", "q2", "a2"]);
  });
});

describe("what is on its way", () => {
  /** What one reads at a place. */
  function reading(messages: MessageState[], place: Place): Reading {
    const path = branchOf(treeOf(messages), place).map((step) => step.message);
    return { conversation: ROOM, messages, path, turns: [], choose: () => undefined };
  }

  function outgoing(clientId: string, fields: Partial<Outgoing> = {}): Outgoing {
    const content = "on its way";
    const common = { clientId, conversation: ROOM, content, assistant: null, error: null };
    const status = "sending";
    return { ...common, status, createdAt: 1, parent: null, follows: null, ...fields };
  }

  function shown(reading: Reading, ...list: Outgoing[]): string[] {
    const outbox = Object.fromEntries(list.map((one) => [one.clientId, one]));
    return outgoingOf(outbox, reading).map((one) => one.clientId);
  }

  test("is written after the last message shown", () => {
    expect(endOf(reading(REWORDED, NEWEST), [])).toEqual({ parent: "a3" });
    expect(endOf(reading(REWORDED, went(REWORDED, "q2")), [])).toEqual({ parent: "a2" });
    expect(endOf(reading([], NEWEST), [])).toEqual({});
  });

  test("is written after what is on its way itself, but not after what was refused", () => {
    const failed = outgoing("two", { status: "failed" });
    const here = reading(PLAIN, NEWEST);
    expect(endOf(here, [outgoing("one"), failed])).toEqual({ follows: "one" });
    expect(endOf(here, [failed])).toEqual({ parent: "a2" });
  });

  test("follows the reply to what was said last, also where that is not told of yet", () => {
    expect(endOf(reading(PLAIN.slice(0, 3), NEWEST), [])).toEqual({});
  });

  test("shows on its own branch, and so does what follows it", () => {
    const first = outgoing("one", { parent: "a2" });
    const second = outgoing("two", { follows: "one", createdAt: 2 });
    const there = reading(REWORDED, went(REWORDED, "q2"));
    expect(shown(there, second, first)).toEqual(["one", "two"]);
    expect(shown(reading(REWORDED, NEWEST), second, first)).toEqual([]);
  });

  test("shows where its branch is not known, and where it was refused everywhere", () => {
    const here = reading(REWORDED, NEWEST);
    expect(shown(here, outgoing("one"), outgoing("two", { parent: "not loaded" }))).toEqual([
      "one",
      "two",
    ]);
    expect(shown(here, outgoing("one", { parent: "a2", status: "failed" }))).toEqual(["one"]);
  });

  test("shows no more once it has arrived, on whatever branch", () => {
    const arrived = [...REWORDED, aMessage({ id: "q9", client_id: "one", created_seq: 9 })];
    const place = { at: "a3", chosen: {} };
    expect(shown(reading(arrived, place), outgoing("one"))).toEqual([]);
  });
});

describe("in any tree", () => {
  /** Each message follows an earlier one, or none. */
  const trees = fc.array(fc.nat(1_000), { minLength: 1, maxLength: 40, size: "max" }).map((picks) =>
    picks.map((pick, at) => {
      const before = at === 0 ? -1 : (pick % (at + 1)) - 1;
      return aMessage({
        id: `m${at}`,
        parent: before < 0 ? null : `m${before}`,
        role: pick % 2 ? "user" : "assistant",
        created_seq: at + 1,
      });
    }),
  );

  test("a branch is a way from a beginning to an end, and the newest message ends it", () => {
    fc.assert(
      fc.property(trees, fc.nat(40), (all, cut) => {
        const messages = all.slice(Math.min(cut, all.length - 1));
        const branch = branchOf(treeOf(messages), NEWEST);
        expect(branch.at(-1)?.message).toBe(messages.at(-1));
        branch.forEach(({ message, siblings }, at) => {
          const before = branch[at - 1]?.message.id;
          // What comes first follows nothing, or nothing that is loaded.
          if (before) expect(message.parent).toBe(before);
          else expect(messages.map((one) => one.id)).not.toContain(message.parent);
          expect(siblings).toContain(message);
          expect(siblings).toEqual(messages.filter((one) => one.parent === message.parent));
        });
      }),
    );
  });

  test("every message can be gone to, and its branch goes on to an end", () => {
    fc.assert(
      fc.property(
        trees,
        fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }),
        (messages, picks) => {
          const tree = treeOf(messages);
          const ids = picks.map((pick) => messages[pick % messages.length]?.id ?? "");
          const branch = path(tree, went(messages, ...ids));
          expect(branch).toContain(ids.at(-1));
          expect(messages.some((one) => one.parent === branch.at(-1))).toBe(false);
        },
      ),
    );
  });
});
