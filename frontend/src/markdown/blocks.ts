/** Markdown cut into its top-level blocks, again and again as it grows, without starting over. */

import remarkGfm from "remark-gfm";
import remarkParse from "remark-parse";
import { unified } from "unified";

const parser = unified().use(remarkParse).use(remarkGfm);

/**
 * How many blocks at the end more text may still change: the last one grows, and it may turn out
 * to be two (`a⏎-` is a heading, `a⏎- b` a paragraph and a list).
 */
const UNSETTLED = 2;

export class Blocks {
  #text = "";
  #blocks: readonly string[] = [];

  /**
   * Return the blocks of `text`; together they are the text.
   *
   * Where it continues the text of the last call, only its end is parsed, and the blocks before
   * are the same strings, so whoever renders them need not do so again.
   */
  split(text: string): readonly string[] {
    if (text === this.#text) return this.#blocks;
    const kept = text.startsWith(this.#text) ? this.#blocks.slice(0, -UNSETTLED) : [];
    const settled = kept.reduce((length, block) => length + block.length, 0);
    this.#blocks = [...kept, ...parse(text.slice(settled))];
    this.#text = text;
    return this.#blocks;
  }
}

function parse(text: string): string[] {
  const { children } = parser.parse(text);
  const starts: number[] = [];
  children.forEach((node, at) => {
    // What follows a definition may be of one paragraph with it, and reads differently alone.
    if (at > 0 && children[at - 1]?.type === "definition") return;
    const offset = node.position?.start.offset ?? 0;
    // With its indentation, which says what belongs to it.
    starts.push(at === 0 ? 0 : text.lastIndexOf("\n", offset - 1) + 1);
  });
  return starts.map((start, at) => text.slice(start, starts[at + 1]));
}

const DEFINITION = /^ {0,3}\[[^\]]+\]:/m;

/** Whether blocks refer to each other (footnotes, links defined below), so must stay together. */
export function isEntangled(text: string): boolean {
  return DEFINITION.test(text);
}
