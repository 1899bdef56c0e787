import { type ReactElement, Suspense } from "react";
import type { MessageState } from "../../client";
import { Mentioned } from "./Mentioned";
import { Markdown, PlainText } from "./markdown";
import { useForumOf } from "./topic";

/** What a person said: in a forum it is Markdown, elsewhere plain, with whom it names. */
export function Said({ message }: { message: MessageState }): ReactElement {
  const forum = useForumOf(message.conversation);
  if (!forum) return <Mentioned message={message} />;
  const text = message.content;
  return (
    <div className="said whitespace-normal">
      <Suspense fallback={<PlainText text={text} growing={false} />}>
        <Markdown text={text} growing={false} />
      </Suspense>
    </div>
  );
}
