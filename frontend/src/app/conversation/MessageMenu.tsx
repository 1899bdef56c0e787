import {
  Ban,
  CornerUpLeft,
  Ellipsis,
  Flag,
  MailOpen,
  MessagesSquare,
  Pin,
  PinOff,
  Trash2,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type FormEvent, type ReactElement, type RefObject, useRef, useState } from "react";
import { useLocation } from "wouter";
import { expected, type MessageState, type ReportReason } from "../../client";
import { Button, Field, IconButton, Modal } from "../../ui/controls";
import { ITEM, MENU } from "../../ui/menu";
import { useClient, useKnown } from "../useClient";
import { useMay } from "./rights";
import { threadAddress } from "./ThreadLine";

const REASONS: Record<ReportReason, string> = {
  spam: "Spam or advertising",
  abuse: "Insulting or harassing",
  illegal: "Against the law",
  other: "Something else",
};

/** What one may do with a message beside editing it. */
export function MessageMenu({
  message,
  className = "",
  onQuote,
  threads,
}: {
  message: MessageState;
  className?: string;
  onQuote: ((message: MessageState) => void) | null;
  /** Whether one may reply in threads. */
  threads: boolean;
}): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const me = useKnown((state) => state.session?.user.id);
  const author = message.author;
  const person = author?.type === "user" && author.id !== me ? author : null;
  const blocked = useKnown((state) => state.feed.blocks.people.includes(person?.id ?? "nobody"));
  const archived = useKnown(
    (state) => state.followed[message.conversation]?.data.state?.archived_at !== null,
  );
  const mayPin = useMay(message.conversation, "pin") && !archived;
  const mayDelete = useMay(message.conversation, "delete_others");
  const opener = useRef<HTMLButtonElement>(null);
  const [dialog, setDialog] = useState<"report" | "delete" | null>(null);
  const [problem, setProblem] = useState("");
  const mine = author?.id === me;
  const pinned = message.pinned_at !== null;
  const run = (work: Promise<unknown>, then?: () => void) => {
    setProblem("");
    work.then(then).catch((error: unknown) => setProblem(expected(error).message));
  };
  const close = () => {
    setDialog(null);
    setProblem("");
  };
  const quoting = useRef(false);
  return (
    <>
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton
            ref={opener}
            label={problem && !dialog ? `Message menu. ${problem}` : "Message menu"}
            className={`size-7! data-[state=open]:opacity-100! [&_svg]:size-4! ${className}`}
          >
            <Ellipsis aria-hidden />
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content
            align={mine ? "end" : "start"}
            sideOffset={4}
            collisionPadding={8}
            className={`${MENU} w-52`}
            onCloseAutoFocus={(event) => {
              if (!quoting.current) return;
              // Whoever quotes goes on in the composer, once the menu lets go of the focus.
              event.preventDefault();
              quoting.current = false;
              onQuote?.(message);
            }}
          >
            {onQuote && !archived && (
              <DropdownMenu.Item
                className={ITEM}
                onSelect={() => {
                  quoting.current = true;
                }}
              >
                <CornerUpLeft aria-hidden /> Quote
              </DropdownMenu.Item>
            )}
            {message.number !== null && (
              <DropdownMenu.Item
                className={ITEM}
                onSelect={() => run(client.markUnread(message.conversation, message.id))}
              >
                <MailOpen aria-hidden /> Mark as unread
              </DropdownMenu.Item>
            )}
            {threads && (
              <DropdownMenu.Item className={ITEM} onSelect={() => navigate(threadAddress(message))}>
                <MessagesSquare aria-hidden /> Reply in thread
              </DropdownMenu.Item>
            )}
            {mayPin && (
              <DropdownMenu.Item
                className={ITEM}
                onSelect={() => run(client.pin(message.conversation, message.id, !pinned))}
              >
                {pinned ? <PinOff aria-hidden /> : <Pin aria-hidden />}
                {pinned ? "Unpin message" : "Pin message"}
              </DropdownMenu.Item>
            )}
            {person && (
              <DropdownMenu.Item
                className={ITEM}
                onSelect={() => run(client.block(person.id, !blocked))}
              >
                <Ban aria-hidden /> {blocked ? "Unblock" : "Block"} {person.name}
              </DropdownMenu.Item>
            )}
            {!mine && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("report")}>
                <Flag aria-hidden /> Report…
              </DropdownMenu.Item>
            )}
            {!mine && mayDelete && (
              <DropdownMenu.Item
                className={`${ITEM} text-danger [&_svg]:text-danger!`}
                onSelect={() => setDialog("delete")}
              >
                <Trash2 aria-hidden /> Delete…
              </DropdownMenu.Item>
            )}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      {dialog === "report" && <ReportDialog message={message} opener={opener} onClose={close} />}
      <Modal
        title="Delete this message?"
        description="It is gone for everyone. Moderators can see what it said for a while."
        open={dialog === "delete"}
        opener={opener}
        onClose={close}
      >
        <form
          className="space-y-4"
          onSubmit={(event: FormEvent<HTMLFormElement>) => {
            event.preventDefault();
            const reason = String(new FormData(event.currentTarget).get("reason")).trim();
            run(client.removeMessage(message.conversation, message.id, reason), close);
          }}
        >
          <Field
            label="Reason"
            name="reason"
            maxLength={500}
            hint="For the room’s log. You may leave it empty."
            error={problem || undefined}
          />
          <div className="flex justify-end gap-2">
            <Button onClick={close}>Cancel</Button>
            <Button type="submit" kind="danger">
              Delete
            </Button>
          </div>
        </form>
      </Modal>
    </>
  );
}

function ReportDialog({
  message,
  opener,
  onClose,
}: {
  message: MessageState;
  opener: RefObject<HTMLButtonElement | null>;
  onClose: () => void;
}): ReactElement {
  const client = useClient();
  const [sent, setSent] = useState(false);
  const [problem, setProblem] = useState("");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const reason = String(form.get("reason")) as ReportReason;
    client.api
      .report(message.id, reason, String(form.get("note")).trim())
      .then(() => setSent(true))
      .catch((error: unknown) => setProblem(expected(error).message));
  };
  return (
    <Modal
      title="Report this message"
      description="Those who keep order here decide about it. Whoever wrote it does not learn who reported it."
      open
      opener={opener}
      onClose={onClose}
    >
      {sent ? (
        <>
          <p role="status">Thank you. It was passed on.</p>
          <div className="mt-4 flex justify-end">
            <Button autoFocus onClick={onClose}>
              Close
            </Button>
          </div>
        </>
      ) : (
        <form className="space-y-4" onSubmit={submit}>
          <fieldset className="space-y-1">
            <legend className="mb-1 font-medium text-sm">What is wrong with it?</legend>
            {Object.entries(REASONS).map(([reason, says], at) => (
              <label key={reason} className="flex min-h-9 items-center gap-2.5">
                <input type="radio" name="reason" value={reason} defaultChecked={at === 0} />
                {says}
              </label>
            ))}
          </fieldset>
          <Field label="More about it" name="note" maxLength={500} error={problem || undefined} />
          <div className="flex justify-end gap-2">
            <Button onClick={onClose}>Cancel</Button>
            <Button type="submit" kind="primary">
              Report
            </Button>
          </div>
        </form>
      )}
    </Modal>
  );
}
