import { lazy, type ReactElement } from "react";

/** Fetch what shows Markdown; ahead of time, it is there when the first message is. */
export function loadMarkdown(): Promise<typeof import("../../markdown/Markdown")> {
  return import("../../markdown/Markdown");
}

export function PlainText({ text }: { text: string; growing: boolean }): ReactElement {
  return <p className="whitespace-pre-wrap [overflow-wrap:anywhere]">{text}</p>;
}

/** Without its script, as when a newer version has just been installed, the text is all there. */
export const Markdown = lazy(() => loadMarkdown().catch(() => ({ default: PlainText })));
