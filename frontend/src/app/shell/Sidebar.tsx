import { CircleUserRound, LogOut, Monitor, Moon, PenLine, Sun, UserPlus } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type ReactElement, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { type ConversationItem, sortedList } from "../../client";
import { Avatar, Button } from "../../ui/controls";
import { Logo } from "../../ui/Logo";
import { ITEM, MENU } from "../../ui/menu";
import { setTheme, type Theme, useTheme } from "../../ui/theme";
import { briefly } from "../../ui/times";
import { ClaimDialog } from "../account/SignIn";
import { useClient, useKnown, useMe } from "../useClient";
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
      <Person />
    </div>
  );
}

function ConversationList({ onLeave }: { onLeave: (() => void) | undefined }): ReactElement {
  const client = useClient();
  const list = useKnown((state) => state.list);
  const items = useMemo(() => sortedList({ list }), [list]);
  const [path] = useLocation();
  return (
    <nav aria-label="Conversations" className="min-h-0 flex-1 overflow-y-auto px-3 py-1">
      {list.next === undefined && !list.failed && (
        <p className="px-2 py-3 text-muted text-sm">Loading…</p>
      )}
      {list.next === undefined && list.failed && (
        <div className="px-2 py-3 text-muted text-sm">
          Your conversations could not be loaded.
          <Button className="mt-2 w-full" onClick={() => void client.list.refresh()}>
            Try again
          </Button>
        </div>
      )}
      {list.next !== undefined && items.length === 0 && (
        <p className="px-2 py-3 text-muted text-sm">Your conversations will be here.</p>
      )}
      <ul className="space-y-0.5">
        {items.map((item) => (
          <li key={item.id}>
            <Entry item={item} current={path === `/c/${item.id}`} onLeave={onLeave} />
          </li>
        ))}
      </ul>
      {list.next && (
        <Button className="my-2 w-full" onClick={() => void client.list.more()}>
          Show older
        </Button>
      )}
    </nav>
  );
}

function Entry({
  item,
  current,
  onLeave,
}: {
  item: ConversationItem;
  current: boolean;
  onLeave: (() => void) | undefined;
}): ReactElement {
  const unread = current ? 0 : item.unread;
  return (
    <Link
      href={`/c/${item.id}`}
      onClick={onLeave}
      aria-current={current ? "page" : undefined}
      className="block rounded-lg px-2.5 py-2 hover:bg-hover aria-[current=page]:bg-bubble"
    >
      <span className="flex items-baseline gap-2">
        <span className={`min-w-0 flex-1 truncate ${unread ? "font-semibold" : "font-medium"}`}>
          {item.title || "New conversation"}
        </span>
        <time dateTime={item.active_at} className="shrink-0 text-muted text-xs">
          {briefly(item.active_at)}
        </time>
      </span>
      <span className="flex items-center gap-2">
        <span className="min-w-0 flex-1 truncate text-muted text-sm">
          {plain(item.preview) || "Nothing said yet"}
        </span>
        {unread > 0 && (
          <span className="shrink-0 rounded-full bg-accent px-1.5 font-medium text-on-accent text-xs leading-5">
            {unread > 99 ? "99+" : unread}
            <span className="sr-only"> unread</span>
          </span>
        )}
      </span>
    </Link>
  );
}

/** The words of a bit of Markdown, well enough for one line. */
function plain(markdown: string): string {
  return markdown
    .replace(/```\w*/g, "")
    .replace(/[*`~]{1,3}(?=\S)|(?<=\S)[*`~]{1,3}/g, "")
    .replace(/(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)/g, "")
    .replace(/^\s*(#+|>|[-*+]|\d+\.)\s+/gm, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}

const THEMES: [Theme, string, typeof Sun][] = [
  ["system", "As the system", Monitor],
  ["light", "Light", Sun],
  ["dark", "Dark", Moon],
];

function Person(): ReactElement | null {
  const client = useClient();
  const me = useMe();
  const theme = useTheme();
  const [claiming, setClaiming] = useState(false);
  if (!me) return null;
  return (
    <div className="border-line border-t p-2">
      <DropdownMenu.Root>
        <DropdownMenu.Trigger className="flex w-full items-center gap-2.5 rounded-lg p-2 text-start hover:bg-hover">
          <Avatar name={me.name} />
          <span className="min-w-0 flex-1">
            <span className="sr-only">Your menu: </span>
            <span className="block truncate font-medium">{me.name}</span>
            <span className="block truncate text-muted text-xs">
              {me.is_guest ? "Guest on this device" : me.email || me.username}
            </span>
          </span>
          <CircleUserRound className="size-4 text-muted" aria-hidden />
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content side="top" align="start" sideOffset={6} className={`${MENU} w-60`}>
            {me.is_guest && (
              <>
                <DropdownMenu.Item className={ITEM} onSelect={() => setClaiming(true)}>
                  <UserPlus aria-hidden /> Create an account
                </DropdownMenu.Item>
                <DropdownMenu.Separator className="my-1 border-line border-t" />
              </>
            )}
            <DropdownMenu.Label className="px-2.5 pt-1 text-muted text-xs">
              Appearance
            </DropdownMenu.Label>
            <DropdownMenu.RadioGroup
              value={theme}
              onValueChange={(value) => setTheme(value as Theme)}
            >
              {THEMES.map(([value, label, Icon]) => (
                <DropdownMenu.RadioItem key={value} value={value} className={ITEM}>
                  <Icon aria-hidden /> {label}
                  <DropdownMenu.ItemIndicator className="ms-auto">✓</DropdownMenu.ItemIndicator>
                </DropdownMenu.RadioItem>
              ))}
            </DropdownMenu.RadioGroup>
            <DropdownMenu.Separator className="my-1 border-line border-t" />
            <DropdownMenu.Item className={ITEM} onSelect={() => void client.signOut()}>
              <LogOut aria-hidden /> Sign out
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      <ClaimDialog open={claiming} onClose={() => setClaiming(false)} />
    </div>
  );
}
