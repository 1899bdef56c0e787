import { ArrowBigUp, Check, CircleCheck } from "lucide-react";
import { type ReactElement, useMemo, useState } from "react";
import { expected, isFinal, type MessageState, shownReactions, VOTE } from "../../client";
import { Button } from "../../ui/controls";
import { useClient, useKnown } from "../useClient";
import { useTopic } from "./topic";

/** Under a topic's question and its answers: the vote, and whether it is the answer. */
export function Answer({
  message,
  atEnd,
}: {
  message: MessageState;
  atEnd: boolean;
}): ReactElement | null {
  const client = useClient();
  const topic = useTopic(message.conversation);
  const [problem, setProblem] = useState("");
  if (!topic || !isFinal(message.status)) return null;
  const { row, mayChange } = topic;
  const question = row.first_message === message.id;
  const accepted = row.accepted === message.id;
  const accept = () => {
    setProblem("");
    client
      .accept(row.forum, message.id, !accepted, row.accepted)
      .catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <div className={`flex flex-wrap items-center gap-2 pb-1 ${atEnd ? "justify-end" : ""}`}>
      <VoteButton message={message} question={question} allowed={topic.mayVote} />
      {accepted && (
        <span className="inline-flex items-center gap-1 font-medium text-accent text-sm">
          <CircleCheck className="size-4" aria-hidden /> Accepted answer
        </span>
      )}
      {!question && mayChange && (
        <Button className="min-h-8! px-3! text-sm" onClick={accept}>
          {!accepted && <Check className="size-4" aria-hidden />}
          {accepted ? "Withdraw" : "Accept answer"}
        </Button>
      )}
      {problem && (
        <p role="alert" className="text-danger text-sm">
          {problem}
        </p>
      )}
    </div>
  );
}

function VoteButton({
  message: { conversation, id },
  question,
  allowed,
}: {
  message: MessageState;
  question: boolean;
  allowed: boolean;
}): ReactElement {
  const client = useClient();
  const me = useKnown((state) => state.session?.user.id ?? "");
  const tally = useKnown((state) => state.followed[conversation]?.data.tallies[id]);
  const own = useKnown((state) => state.followed[conversation]?.data.own[id]);
  const about = useKnown((state) => state.followed[conversation]?.data.reacting[id]);
  const [problem, setProblem] = useState("");
  const { count, mine } = useMemo(() => {
    const known = {
      me,
      tallies: tally ? { [id]: tally } : {},
      own: own ? { [id]: own } : {},
      reacting: about ? { [id]: about } : {},
    };
    const vote = shownReactions(known, id).find((kind) => kind.emoji === VOTE);
    return { count: vote?.count ?? 0, mine: vote?.mine ?? false };
  }, [me, tally, own, about, id]);
  const what = question ? "question" : "answer";
  const votes = count === 1 ? "1 vote" : `${count} votes`;
  return (
    <>
      <button
        type="button"
        aria-pressed={mine}
        aria-label={`Vote for this ${what}, ${votes}`}
        title={votes}
        disabled={!allowed}
        onClick={() => {
          setProblem("");
          client
            .vote(conversation, id, !mine)
            .catch((error: unknown) => setProblem(expected(error).message));
        }}
        className={`inline-flex h-8 items-center gap-1 rounded-full border px-2.5 text-sm tabular-nums transition-colors enabled:hover:bg-hover ${mine ? "border-accent bg-accent/15 font-medium text-accent" : "border-line bg-raised text-muted"}`}
      >
        <ArrowBigUp className={`size-4 ${mine ? "fill-current" : ""}`} aria-hidden />
        {count}
      </button>
      {problem && (
        <span role="alert" className="text-danger text-sm">
          {problem}
        </span>
      )}
    </>
  );
}
