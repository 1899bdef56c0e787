import {
  Bell,
  BellOff,
  Ellipsis,
  Info,
  Link2,
  Pencil,
  Pin,
  PinOff,
  Trash2,
  UserPlus,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type ComponentType, type FormEvent, type ReactElement, useRef, useState } from "react";
import { useLocation } from "wouter";
import { type ConversationState, expected, isMuted, type MemberState, may } from "../../client";
import { Button, Field, IconButton, Modal } from "../../ui/controls";
import { copyText } from "../../ui/copying";
import { ITEM, MENU } from "../../ui/menu";
import { SidebarButton } from "../../ui/SidebarButton";
import { useClient, useKnown } from "../useClient";
import { nameOf } from "./members";
import { PinnedMessages } from "./PinnedMessages";
import { useReports } from "./reports";
import type { RoomDialogsProps } from "./roomDialogs";

export function ConversationHeader({
  id,
  title,
  members,
  others,
  state,
  own,
  count,
  roomDialogs: RoomDialogs,
  onJump,
}: {
  id: string;
  title: string;
  members: MemberState[];
  /** How many people more there are, whose names are not known. */
  others: number;
  state: ConversationState | null;
  /** One's own membership. */
  own: MemberState | undefined;
  /** How many people are in it. */
  count: number;
  roomDialogs: ComponentType<RoomDialogsProps>;
  /** Go to a message. */
  onJump: (message: string) => void;
}): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const opener = useRef<HTMLButtonElement>(null);
  const [dialog, setDialog] = useState<"rename" | "delete" | "invite" | "details" | "pins" | null>(
    null,
  );
  const allowed = (action: Parameters<typeof may>[0]) =>
    own && state ? may(action, own.role, state) : false;
  const room = state && state.kind !== "assistant" ? state : null;
  const reports = useReports(id, room !== null && allowed("reports"));
  const [problem, setProblem] = useState("");
  const [refused, setRefused] = useState("");
  const close = () => {
    setDialog(null);
    setProblem("");
  };
  const run = (work: Promise<unknown>, then: () => void) => {
    work.then(then).catch((error: unknown) => setProblem(expected(error).message));
  };
  const rename = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const next = String(new FormData(event.currentTarget).get("title") ?? "").trim();
    run(client.rename(id, next), close);
  };
  return (
    <header className="flex h-14 shrink-0 items-center gap-1 border-line border-b px-3">
      <SidebarButton />
      <div className="min-w-0 flex-1 px-1">
        <h1 className="truncate font-medium leading-tight">{title}</h1>
        {members.length > 0 && (
          <p className="truncate text-muted text-xs">
            {members.map(nameOf).join(", ")}
            {others > 0 && ` and ${others} more`}
          </p>
        )}
        {refused && (
          <p role="alert" className="truncate text-danger text-xs">
            {refused}
          </p>
        )}
      </div>
      <DropdownMenu.Root>
        <DropdownMenu.Trigger asChild>
          <IconButton
            ref={opener}
            label={reports > 0 ? `Conversation menu, ${reported(reports)}` : "Conversation menu"}
            className="relative"
          >
            <Ellipsis aria-hidden />
            {reports > 0 && <Badge count={reports} className="absolute -top-0.5 -right-0.5" />}
          </IconButton>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content align="end" sideOffset={4} className={`${MENU} w-48`}>
            <MineItems id={id} onRefused={setRefused} />
            {room && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("details")}>
                <Info aria-hidden /> Room details
                {reports > 0 && (
                  <>
                    <Badge count={reports} className="ms-auto" />
                    <span className="sr-only">, {reported(reports)}</span>
                  </>
                )}
              </DropdownMenu.Item>
            )}
            {room && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("pins")}>
                <Pin aria-hidden /> Pinned messages
              </DropdownMenu.Item>
            )}
            {room && room.kind !== "direct" && allowed("invite") && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("invite")}>
                <UserPlus aria-hidden /> Invite by link
              </DropdownMenu.Item>
            )}
            {allowed("describe") && (
              <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("rename")}>
                <Pencil aria-hidden /> Rename
              </DropdownMenu.Item>
            )}
            <DropdownMenu.Item
              className={ITEM}
              onSelect={() => void copyText(`${location.origin}/c/${id}`)}
            >
              <Link2 aria-hidden /> Copy link
            </DropdownMenu.Item>
            {allowed("delete") && (
              <>
                <DropdownMenu.Separator className="my-1 border-line border-t" />
                <DropdownMenu.Item
                  className={`${ITEM} text-danger [&_svg]:text-danger!`}
                  onSelect={() => setDialog("delete")}
                >
                  <Trash2 aria-hidden /> Delete
                </DropdownMenu.Item>
              </>
            )}
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      {room && (
        <RoomDialogs
          room={room}
          own={own}
          count={count}
          shown={dialog === "invite" || dialog === "details" ? dialog : null}
          opener={opener}
          onClose={close}
        />
      )}
      {room && (
        <PinnedMessages
          id={id}
          open={dialog === "pins"}
          opener={opener}
          onClose={close}
          onJump={(message) => {
            close();
            onJump(message);
          }}
        />
      )}
      <Modal title="Rename conversation" open={dialog === "rename"} opener={opener} onClose={close}>
        <form onSubmit={rename} className="space-y-4">
          <Field
            label="Title"
            name="title"
            defaultValue={title}
            maxLength={200}
            required
            error={problem || undefined}
          />
          <div className="flex justify-end gap-2">
            <Button onClick={close}>Cancel</Button>
            <Button type="submit" kind="primary">
              Rename
            </Button>
          </div>
        </form>
      </Modal>
      <Modal
        title="Delete this conversation?"
        description="Everything said in it is deleted, for everyone. This cannot be undone."
        open={dialog === "delete"}
        opener={opener}
        onClose={close}
      >
        {problem && (
          <p role="alert" className="mb-3 text-danger text-sm">
            {problem}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={close}>Cancel</Button>
          <Button
            kind="danger"
            onClick={() => run(client.deleteConversation(id), () => navigate("/"))}
          >
            Delete
          </Button>
        </div>
      </Modal>
    </header>
  );
}

function reported(count: number): string {
  return count === 1 ? "1 report" : `${count} reports`;
}

function Badge({ count, className }: { count: number; className: string }): ReactElement {
  return (
    <span
      aria-hidden
      className={`min-w-4 rounded-full bg-accent px-1 text-center font-medium text-[0.625rem] text-on-accent leading-4 ${className}`}
    >
      {count > 9 ? "9+" : count}
    </span>
  );
}

/** What one may set for oneself alone. */
function MineItems({
  id,
  onRefused,
}: {
  id: string;
  onRefused: (problem: string) => void;
}): ReactElement | null {
  const client = useClient();
  const mine = useKnown((state) => state.feed.rooms[id]?.mine);
  if (!mine) return null;
  const muted = isMuted(mine, Date.now());
  const pinned = mine.pinned !== null;
  const change = (fields: Parameters<typeof client.changeMine>[1]) => {
    onRefused("");
    client.changeMine(id, fields).catch((error: unknown) => onRefused(expected(error).message));
  };
  return (
    <>
      <DropdownMenu.Item className={ITEM} onSelect={() => change({ pinned: pinned ? null : 0 })}>
        {pinned ? <PinOff aria-hidden /> : <Pin aria-hidden />}
        {pinned ? "Unpin" : "Pin"}
      </DropdownMenu.Item>
      <DropdownMenu.Item
        className={ITEM}
        onSelect={() => change(muted ? { level: "all", muted_until: null } : { level: "none" })}
      >
        {muted ? <Bell aria-hidden /> : <BellOff aria-hidden />}
        {muted ? "Unmute" : "Mute"}
      </DropdownMenu.Item>
    </>
  );
}
