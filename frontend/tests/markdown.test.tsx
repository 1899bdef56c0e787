import fc from "fast-check";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, test } from "vitest";
import { Blocks, isEntangled } from "../src/markdown/blocks";
import { highlight } from "../src/markdown/highlight";
import Markdown from "../src/markdown/Markdown";

function html(text: string, growing = false): string {
  return renderToStaticMarkup(<Markdown text={text} growing={growing} />);
}

/** Bits of Markdown that change what is around them. */
const bits = fc.constantFrom(
  ...["# ", "text", " more", "\n", "\n\n", "- ", "  - ", "1. ", "> ", "```", "```py\n", "~~~\n"],
  ...["---", "===", "| a | b |\n", "| - | - |\n", "    ", "\t", "**", "`", "<div>", "</div>"],
  ...["<!--", "[a]: b", "[^1]: c", "* ", "\\", "&amp;"],
);

/** What models write. */
const documents = fc
  .array(
    fc.constantFrom(
      "A paragraph of **bold** and `code`,\nin two lines.",
      "# Heading",
      "Heading\n---",
      "- one\n- two\n  - nested\n\n  with more\n- three",
      "1. one\n2. two\n\n   ```sh\n   ls\n   ```",
      "```python\ndef f():\n    return 1\n\n\nf()\n```",
      "~~~\n# no heading\n~~~",
      "| a | b |\n| --- | ---: |\n| 1 | 2 |",
      "> quoted\n> twice\n>\n> - list",
      "---",
      "<details>\ntext\n</details>",
      "    indented code",
    ),
    { minLength: 1, maxLength: 12, size: "max" },
  )
  .map((blocks) => blocks.join("\n\n"));

describe("blocks", () => {
  test("are what a fresh look at the text gives, however it grew", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1 });
    fc.assert(
      fc.property(documents, sizes, (text, steps) => {
        const growing = new Blocks();
        for (let end = 0, step = 0; end < text.length; step += 1) {
          end += steps[step % steps.length] ?? 1;
          const sofar = text.slice(0, end);
          expect(growing.split(sofar)).toEqual(new Blocks().split(sofar));
        }
      }),
      { numRuns: 30 },
    );
  });

  test("together are the text, whatever it is", () => {
    fc.assert(
      fc.property(fc.array(bits, { maxLength: 40, size: "max" }), (parts) => {
        const growing = new Blocks();
        let text = "";
        for (const part of parts) {
          text += part;
          const blocks = growing.split(text);
          if (blocks.length > 0) expect(blocks.join("")).toBe(text);
          else expect(text.trim()).toBe("");
        }
      }),
      { numRuns: 60 },
    );
  });

  test("finished ones stay the same while the text grows", () => {
    const blocks = new Blocks();
    const before = blocks.split("one\n\ntwo\n\nthree\n\nfour");
    const after = blocks.split("one\n\ntwo\n\nthree\n\nfour grows\n\nfive");
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    expect(after).toHaveLength(5);
  });

  test("a text that does not continue the last one starts over", () => {
    const blocks = new Blocks();
    blocks.split("one\n\ntwo\n\nthree");
    expect(blocks.split("other")).toEqual(["other"]);
  });

  test("notes and links defined elsewhere are found when the text is whole", () => {
    const text = "See [the docs][d].\n\n[d]: https://example.org/docs";
    expect(isEntangled(text)).toBe(true);
    expect(html(text)).toContain('href="https://example.org/docs"');
  });
});

describe("what a model writes", () => {
  test("is Markdown with tables, lists and code", () => {
    const shown = html("**bold**\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n```python\nprint(1)\n```");
    expect(shown).toContain("<strong>bold</strong>");
    expect(shown).toContain("<td>1</td>");
    expect(shown).toContain("print(1)");
    expect(shown).toContain('aria-label="Copy code"');
  });

  test.each([
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "<iframe src='https://example.org'></iframe>",
    "text <b onclick='alert(1)'>bold</b>",
    "<style>body { display: none }</style>",
  ])("is never markup of the page: %s", (text) => {
    for (const growing of [false, true]) {
      expect(html(text, growing)).not.toMatch(/<(script|img|iframe|b|style)[\s>]/);
    }
  });

  test.each([
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "![x](javascript:alert(1))",
    "<javascript:alert(1)>",
  ])("links only to the web and mail: %s", (text) => {
    for (const growing of [false, true]) {
      expect(html(text, growing)).not.toMatch(/href="(?!https?:|mailto:)/i);
    }
  });

  test("loads no picture by itself", () => {
    const shown = html("![a chart](https://example.org/track.png?who=me)");
    expect(shown).not.toContain("<img");
    expect(shown).toContain('href="https://example.org/track.png?who=me"');
    expect(shown).toContain("a chart");
  });

  test("opens links apart, and without telling from where", () => {
    expect(html("[x](https://example.org)")).toContain(
      'target="_blank" rel="noopener noreferrer nofollow"',
    );
  });

  test("shows what is not finished yet as it will be", () => {
    expect(html("some **bold te", true)).toContain("<strong>bold te</strong>");
    expect(html("a [link](https://exam", true)).not.toContain("https://exam");
    expect(html("```python\nprint(", true)).toContain("<pre");
  });
});

describe("colours", () => {
  test("are spans around the same text", () => {
    const root = highlight("python", 'print("x")');
    const text = (node: { value?: string; children?: unknown[] }): string =>
      node.value ?? (node.children ?? []).map((child) => text(child as typeof node)).join("");
    expect(root && text(root as never)).toBe('print("x")');
    expect(JSON.stringify(root)).toContain("hljs-string");
  });

  test("are left out for languages that are not known", () => {
    expect(highlight("klingon", "x")).toBeNull();
  });
});
