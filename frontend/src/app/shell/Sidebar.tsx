import { PenLine } from "lucide-react";
import type { ReactElement } from "react";
import { Link } from "wouter";
import { Logo } from "../../ui/Logo";
import { AccountMenu } from "../account/AccountMenu";
import { ConversationList } from "../rooms/ConversationList";
import { Inbox } from "./Inbox";

/** One's conversations and one's own things. `onLeave` is called when a page is chosen. */
export function Sidebar({ onLeave }: { onLeave?: () => void }): ReactElement {
  return (
    <div className="flex h-full flex-col">
      <div className="flex items-center gap-2 ps-4 pe-3 pt-3 pb-2">
        <Logo className="size-6" />
        <span className="flex-1 font-serif text-lg tracking-tight">Chatire</span>
        <Inbox />
      </div>
      <div className="px-3 pb-2">
        <Link
          href="/"
          onClick={onLeave}
          className="flex min-h-10 items-center gap-2 rounded-lg border border-line bg-raised px-3 font-medium hover:bg-hover"
        >
          <PenLine className="size-4 text-accent" aria-hidden />
          New chat
        </Link>
      </div>
      <ConversationList onLeave={onLeave} />
      <AccountMenu />
    </div>
  );
}
