import {
  Ban,
  CircleUserRound,
  LogIn,
  LogOut,
  Monitor,
  Moon,
  SmilePlus,
  Sun,
  UserPlus,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type ReactElement, useRef, useState } from "react";
import { ITEM, MENU } from "../../ui/menu";
import { setTheme, type Theme, useTheme } from "../../ui/theme";
import { PersonAvatar, useStatus } from "../people/presence";
import { useClient, useMe } from "../useClient";
import { BlockedPeople } from "./BlockedPeople";
import { ClaimDialog, LeaveDialog, MergeDialog } from "./SignIn";
import { StatusDialog } from "./StatusDialog";

const THEMES: [Theme, string, typeof Sun][] = [
  ["system", "As the system", Monitor],
  ["light", "Light", Sun],
  ["dark", "Dark", Moon],
];

/** Who one is, and what one can do as them. */
export function AccountMenu(): ReactElement | null {
  const client = useClient();
  const me = useMe();
  const theme = useTheme();
  const opener = useRef<HTMLButtonElement>(null);
  const [dialog, setDialog] = useState<"claim" | "leave" | "merge" | "blocked" | "status" | null>(
    null,
  );
  const status = useStatus(me?.id);
  const said = status ? `${status.emoji} ${status.text}`.trim() : "";
  if (!me) return null;
  return (
    <div className="border-line border-t p-2">
      <DropdownMenu.Root>
        <DropdownMenu.Trigger
          ref={opener}
          className="flex w-full items-center gap-2.5 rounded-lg p-2 text-start hover:bg-hover"
        >
          <PersonAvatar person={me.id} name={me.name} />
          <span className="min-w-0 flex-1">
            <span className="sr-only">Your menu: </span>
            <span className="block truncate font-medium">{me.name}</span>
            <span className="block truncate text-muted text-xs">
              {said || (me.is_guest ? "Guest on this device" : me.email || me.username)}
            </span>
          </span>
          <CircleUserRound className="size-4 text-muted" aria-hidden />
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content side="top" align="start" sideOffset={6} className={`${MENU} w-60`}>
            {me.is_guest && (
              <>
                <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("claim")}>
                  <UserPlus aria-hidden /> Create an account
                </DropdownMenu.Item>
                <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("merge")}>
                  <LogIn aria-hidden /> Sign in to your account
                </DropdownMenu.Item>
                <DropdownMenu.Separator className="my-1 border-line border-t" />
              </>
            )}
            <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("status")}>
              <SmilePlus aria-hidden /> {said ? "Change your status" : "Set a status"}
            </DropdownMenu.Item>
            <DropdownMenu.Separator className="my-1 border-line border-t" />
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
            <DropdownMenu.Item className={ITEM} onSelect={() => setDialog("blocked")}>
              <Ban aria-hidden /> Blocked people
            </DropdownMenu.Item>
            <DropdownMenu.Item
              className={ITEM}
              onSelect={() => (me.is_guest ? setDialog("leave") : void client.signOut())}
            >
              <LogOut aria-hidden /> Sign out
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
      <StatusDialog open={dialog === "status"} opener={opener} onClose={() => setDialog(null)} />
      <LeaveDialog
        open={dialog === "leave"}
        opener={opener}
        onClose={() => setDialog(null)}
        onClaim={() => setDialog("claim")}
      />
      <BlockedPeople open={dialog === "blocked"} opener={opener} onClose={() => setDialog(null)} />
      <MergeDialog open={dialog === "merge"} opener={opener} onClose={() => setDialog(null)} />
      <ClaimDialog open={dialog === "claim"} opener={opener} onClose={() => setDialog(null)} />
    </div>
  );
}
