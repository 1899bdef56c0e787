import { Check, Minus } from "lucide-react";
import { type FormEvent, type ReactElement, useState } from "react";
import {
  ACTIONS,
  type ConversationState,
  expected,
  type MemberState,
  may,
  type PolicyAction,
  ROLES,
} from "../../client";
import { Button, Field } from "../../ui/controls";
import { useClient } from "../useClient";
import { ACCESS, type Access } from "./access";
import { Choice } from "./fields";

type Role = MemberState["role"];
type Rules = ConversationState["policy"];

/** What a room decides by itself, in words. */
const DECIDED: [PolicyAction, string][] = [
  ["send", "Write messages"],
  ["ask", "Ask an assistant"],
  ["add", "Add people"],
  ["invite", "Make links"],
  ["pin", "Pin messages"],
  ["describe", "Change name and topic"],
];
const SHORT: Record<Role, string> = {
  guest: "Guest",
  member: "Member",
  moderator: "Mod.",
  admin: "Admin",
  owner: "Owner",
};

/** What a room is called and about, and who may do what there. */
export function RoomSettings({
  room,
  own,
}: {
  room: ConversationState;
  own: MemberState;
}): ReactElement {
  const client = useClient();
  const governs = may("govern", own.role, room) && room.kind !== "direct";
  const [policy, setPolicy] = useState<Rules>(room.policy);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [saved, setSaved] = useState(false);
  const save = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    const text = (name: string) => String(values.get(name) ?? "").trim();
    setBusy(true);
    setSaved(false);
    setProblem("");
    client
      .changeRoom(room.id, {
        title: text("title"),
        topic_text: text("topic"),
        avatar: text("avatar"),
        ...(governs
          ? {
              access: text("access") as Access,
              history: text("history") === "joined" ? ("joined" as const) : ("all" as const),
              policy,
            }
          : {}),
      })
      .then(() => setSaved(true))
      .catch((error: unknown) => setProblem(expected(error).message))
      .finally(() => setBusy(false));
  };
  return (
    <form onSubmit={save} onChange={() => setSaved(false)} className="space-y-4">
      <div className="grid grid-cols-[1fr_5rem] gap-3">
        <Field label="Name" name="title" defaultValue={room.title} maxLength={200} />
        <Field label="Picture" name="avatar" defaultValue={room.avatar} placeholder="🍜" />
      </div>
      <Field
        label="Topic"
        name="topic"
        defaultValue={room.topic_text}
        maxLength={500}
        hint="What this room is about."
      />
      {governs && (
        <>
          <Choice
            label="Who may come in"
            name="access"
            value={room.access}
            options={(Object.keys(ACCESS) as Access[]).map(
              (access) => [access, `${ACCESS[access].name}: ${ACCESS[access].says}`] as const,
            )}
          />
          <Choice
            label="Newcomers read"
            name="history"
            value={room.history}
            options={[
              ["all", "Everything that was said"],
              ["joined", "Only what comes after they joined"],
            ]}
          />
          <Policy policy={policy} onPolicy={setPolicy} />
        </>
      )}
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <div className="flex items-center justify-end gap-3">
        <span role="status" className="text-muted text-sm">
          {saved && "Saved."}
        </span>
        <Button type="submit" kind="primary" aria-disabled={busy}>
          Save
        </Button>
      </div>
    </form>
  );
}

/** Who may do what: a row for each thing, a mark for each role that may. */
function Policy({
  policy,
  onPolicy,
}: {
  policy: Rules;
  onPolicy: (policy: Rules) => void;
}): ReactElement {
  return (
    <div>
      <h3 className="mb-1 font-medium text-sm" id="policy">
        Who may do what
      </h3>
      <p className="mb-2 text-muted text-sm">
        Choose the first role that may; those after it may, too.
      </p>
      <table aria-labelledby="policy" className="w-full table-fixed text-sm">
        <thead>
          <tr className="text-[0.68rem] text-muted">
            <th scope="col" className="w-[36%]">
              <span className="sr-only">Action</span>
            </th>
            {ROLES.map((role) => (
              <th key={role} scope="col" className="pb-1 text-center font-normal">
                {SHORT[role]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {DECIDED.map(([action, says]) => {
            const decided = policy[action];
            const least = typeof decided === "string" ? decided : ACTIONS[action].least;
            return (
              <tr key={action} className="border-line border-t">
                <th scope="row" className="py-1.5 pe-2 text-start font-normal">
                  {says}
                </th>
                {ROLES.map((role) => {
                  const allowed = ROLES.indexOf(role) >= ROLES.indexOf(least);
                  return (
                    <td key={role} className="text-center">
                      <label className="inline-flex size-8 cursor-pointer items-center justify-center rounded-md hover:bg-hover has-focus-visible:outline-2 has-focus-visible:outline-accent">
                        <input
                          type="radio"
                          name={`policy-${action}`}
                          className="sr-only"
                          checked={role === least}
                          onChange={() => onPolicy({ ...policy, [action]: role })}
                          aria-label={`${says}: from ${role} on`}
                        />
                        {allowed ? (
                          <Check className="size-4 text-accent" aria-hidden />
                        ) : (
                          <Minus className="size-4 text-line" aria-hidden />
                        )}
                      </label>
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
