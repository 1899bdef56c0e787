import { type FormEvent, type ReactElement, useState } from "react";
import { type ConversationState, expected, type MemberState, may, ROLES } from "../../client";
import { Button, Field } from "../../ui/controls";
import { useClient } from "../useClient";
import { Choice } from "./fields";

type Role = MemberState["role"];

export const ROLE_NAMES: Record<Role, string> = {
  owner: "Owner",
  admin: "Admin",
  moderator: "Moderator",
  member: "Member",
  guest: "Guest",
};

/** What of a member one may change. */
export type Change = "nickname" | "role" | "owner";

export const CHANGES: Record<Change, string> = {
  nickname: "Name in this room…",
  role: "Change role…",
  owner: "Make owner…",
};

/** What of a member one may change: see chat/permissions.py. */
export function changesOf(
  room: ConversationState,
  own: MemberState,
  member: MemberState,
): Change[] {
  const isOwn = own.id === member.id;
  const above = ROLES.indexOf(own.role) > ROLES.indexOf(member.role);
  const changes: Change[] = [];
  if (isOwn || may("nicknames", own.role, room)) changes.push("nickname");
  if (room.kind === "direct" || isOwn || !member.user) return changes;
  if (may("roles", own.role, room) && (above || own.role === "owner")) changes.push("role");
  if (own.role === "owner" && member.role !== "owner") changes.push("owner");
  return changes;
}

/** What is asked to change something of a member. */
export function MemberForm({
  room,
  own,
  member,
  name,
  change,
  onDone,
  onCancel,
}: {
  room: ConversationState;
  own: MemberState;
  member: MemberState;
  name: string;
  change: Change;
  onDone: () => Promise<unknown>;
  onCancel: () => void;
}): ReactElement {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const { api } = client;
  const roles = ROLES.filter(
    (role) => own.role === "owner" || ROLES.indexOf(role) < ROLES.indexOf(own.role),
  ).toReversed();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    const text = (field: string) => String(values.get(field) ?? "").trim();
    const work: Record<Change, () => Promise<unknown>> = {
      role: () => api.changeMember(room.id, member.id, { role: text("role") as Role }),
      nickname: () => api.changeMember(room.id, member.id, { nickname: text("nickname") }),
      owner: async () => {
        await api.changeMember(room.id, member.id, { role: "owner" });
        await api.changeMember(room.id, own.id, { role: "admin" });
      },
    };
    setBusy(true);
    setProblem("");
    work[change]()
      .then(onDone)
      .catch((error: unknown) => {
        setBusy(false);
        setProblem(expected(error).message);
      });
  };
  return (
    <form
      onSubmit={submit}
      aria-label={`${CHANGES[change].replace("…", "")}: ${name}`}
      className="my-1 w-full space-y-3 rounded-xl border border-line bg-raised p-3"
    >
      {change === "owner" && (
        <p className="text-sm">Make {name} the owner of this room? You become an admin.</p>
      )}
      {change === "role" && (
        <Choice
          label={`Role of ${name}`}
          name="role"
          value={member.role}
          options={roles.map((role) => [role, ROLE_NAMES[role]] as const)}
        />
      )}
      {change === "nickname" && (
        <Field
          label={own.id === member.id ? "Your name in this room" : `Name of ${name} in this room`}
          name="nickname"
          defaultValue={member.nickname}
          maxLength={80}
          autoComplete="off"
          autoFocus
        />
      )}
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="flex justify-end gap-2">
        <Button onClick={onCancel}>Cancel</Button>
        <Button type="submit" kind="primary" aria-disabled={busy}>
          {change === "owner" ? "Make owner" : "Save"}
        </Button>
      </div>
    </form>
  );
}
