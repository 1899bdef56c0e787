import type { Element, ElementContent } from "hast";
import { toJsxRuntime } from "hast-util-to-jsx-runtime";
import {
  isValidElement,
  memo,
  type ReactElement,
  type ReactNode,
  useEffect,
  useMemo,
  useState,
} from "react";
import { Fragment, jsx, jsxs } from "react/jsx-runtime";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import remend from "remend";
import { CopyButton } from "../ui/copying";
import { Blocks, isEntangled } from "./blocks";

const PLUGINS = [remarkGfm];
/** What the text lacks at its end is completed, so that half a word in bold does not flicker. */
const COMPLETION = { linkMode: "text-only", images: false } as const;

/**
 * A model's text. Raw HTML shows as text and is never markup; only web and mail links are links;
 * pictures are links too, since loading one tells its server who reads.
 */
export default function Markdown({
  text,
  growing,
}: {
  text: string;
  growing: boolean;
}): ReactElement {
  const [splitter] = useState(() => new Blocks());
  const blocks = useMemo(
    () => (growing ? splitter.split(text) : settledBlocks(text)),
    [text, growing, splitter],
  );
  return (
    <div className={growing ? "prose growing" : "prose"}>
      {blocks.map((block, at) => (
        // Blocks only ever come at the end.
        // biome-ignore lint/suspicious/noArrayIndexKey: the index is what identifies a block
        <Block key={at} text={block} growing={growing && at === blocks.length - 1} />
      ))}
    </div>
  );
}

function settledBlocks(text: string): readonly string[] {
  return isEntangled(text) ? [text] : new Blocks().split(text);
}

const Block = memo(function Block({ text, growing }: { text: string; growing: boolean }) {
  return (
    <div>
      <ReactMarkdown remarkPlugins={PLUGINS} components={growing ? GROWING : SETTLED}>
        {growing ? remend(text, COMPLETION) : text}
      </ReactMarkdown>
    </div>
  );
});

const COMMON: Components = {
  a: ({ href, children }) =>
    href ? (
      <a href={href} target="_blank" rel="noopener noreferrer nofollow">
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  img: ({ src, alt }) =>
    typeof src === "string" && src !== "" ? (
      <a href={src} target="_blank" rel="noopener noreferrer nofollow">
        {alt || src}
      </a>
    ) : (
      <span>{alt}</span>
    ),
  table: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by the keyboard
    <div className="sideways" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  td: ({ node, ...props }) => <td className={isLong(node) ? "long" : undefined} {...props} />,
};
const SETTLED: Components = {
  ...COMMON,
  pre: ({ children }) => <Code settled>{children}</Code>,
};
const GROWING: Components = {
  ...COMMON,
  pre: ({ children }) => <Code settled={false}>{children}</Code>,
};

/** A cell with more characters than this is read in lines, not word by word. */
const LONG = 24;

function isLong(cell: Element | undefined): boolean {
  return cell !== undefined && lengthOf(cell) > LONG;
}

function lengthOf(node: Element | ElementContent): number {
  if (node.type === "text") return node.value.length;
  if (node.type !== "element") return 0;
  return node.children.reduce((sum, child) => sum + lengthOf(child), 0);
}

function Code({ children, settled }: { children?: ReactNode; settled: boolean }): ReactElement {
  const { language, code } = codeOf(children);
  const coloured = useColours(language, code, settled);
  return (
    <div className="code">
      <div className="flex items-center justify-between border-line border-b py-1 ps-4 pe-1.5 text-muted text-xs">
        <span className="font-mono">{language || "text"}</span>
        <CopyButton text={code} label="Copy code" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by the keyboard */}
      <pre tabIndex={0}>
        <code>{coloured ?? code}</code>
      </pre>
    </div>
  );
}

function codeOf(children: ReactNode): { language: string; code: string } {
  if (!isValidElement<{ className?: string; children?: ReactNode }>(children)) {
    return { language: "", code: String(children ?? "") };
  }
  const { className = "", children: code } = children.props;
  return {
    language: /language-([\w+#-]+)/.exec(className)?.[1]?.toLowerCase() ?? "",
    code: String(code ?? "").replace(/\n$/, ""),
  };
}

/** Longer code (characters) stays plain: colouring it would hold the page up. */
const MOST_COLOURED = 50_000;

function useColours(language: string, code: string, settled: boolean): ReactNode {
  const [coloured, setColoured] = useState<{ code: string; node: ReactNode } | null>(null);
  useEffect(() => {
    if (!settled || language === "" || code.length > MOST_COLOURED) return;
    let wanted = true;
    const load = async () => {
      const { highlight } = await import("./highlight");
      const root = wanted ? highlight(language, code) : null;
      if (root) setColoured({ code, node: toJsxRuntime(root, { Fragment, jsx, jsxs }) });
    };
    // Without colours, as when the script cannot be loaded, the code is still all there.
    load().catch(() => setColoured(null));
    return () => {
      wanted = false;
    };
  }, [language, code, settled]);
  return coloured?.code === code ? coloured.node : null;
}
