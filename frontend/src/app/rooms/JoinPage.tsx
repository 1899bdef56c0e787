import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactElement, type ReactNode, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { expected, ServerError } from "../../client";
import { Avatar, Button, Dots, Field } from "../../ui/controls";
import { useClient, useConfig, useKnown } from "../useClient";
import { people } from "./access";

const LINK =
  "inline-flex min-h-10 w-full items-center justify-center rounded-lg border border-line bg-raised px-4 font-medium hover:bg-hover";

/** Where a link into a room leads, before anything is made of it. */
export function JoinPage({ token }: { token: string }): ReactElement {
  const client = useClient();
  const [, navigate] = useLocation();
  const [taking, setTaking] = useState(false);
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState("");
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ["invitation", token],
    queryFn: () => client.api.invitation(token),
    // What was read when one came stays while one comes in.
    enabled: !taking && !asked,
  });
  const title = data?.title || "A room without a name";
  useEffect(() => {
    document.title = `${data ? `Join ${data.title}` : "Invitation"} — Chatire`;
  }, [data]);

  const take = (guest?: string) => {
    if (taking) return;
    setTaking(true);
    setProblem("");
    client
      .takeInvitation(token, guest)
      .then((room) => {
        if (room) navigate(`/c/${room.id}`, { replace: true });
        else setAsked(true);
      })
      .catch((refused: unknown) => setProblem(expected(refused).message))
      .finally(() => setTaking(false));
  };

  if (asked) {
    return (
      <Card title="You asked to come in">
        <p className="text-center text-muted">
          Somebody in the room decides. You are told when they have.
        </p>
        <Link href="/" className={`${LINK} mt-5`}>
          Go to your conversations
        </Link>
      </Card>
    );
  }
  if (error instanceof ServerError && error.code === "invitation_invalid") {
    return (
      <Card title="This link no longer works">
        <p className="text-center text-muted">
          It was ended, has expired or was used up. Ask whoever sent it for a new one.
        </p>
        <Link href="/" className={`${LINK} mt-5`}>
          Go to Chatire
        </Link>
      </Card>
    );
  }
  if (error && !data) {
    return (
      <Card title="The invitation could not be loaded">
        <p role="alert" className="text-center text-muted">
          {expected(error).message}
        </p>
        <Button className="mt-5 w-full" onClick={() => void refetch()}>
          Try again
        </Button>
      </Card>
    );
  }
  if (isPending || !data) {
    return (
      <Card>
        <p className="text-center">
          <Dots label="Loading" />
        </p>
      </Card>
    );
  }
  return (
    <Card title={title} avatar={<Avatar name={title} avatar={data.avatar} accent />}>
      {data.topic_text && <p className="text-center">{data.topic_text}</p>}
      <p className="text-center text-muted">
        {data.by} invites you.
        <br />
        {people(data.people)} {data.people === 1 ? "is" : "are"} in it.
      </p>
      {data.approval && (
        <p className="mt-1 text-center text-muted text-sm">Somebody there has to let you in.</p>
      )}
      <Ways guests={data.guests} token={token} busy={taking} onTake={take} />
      <p role="alert" className="mt-3 text-center text-danger text-sm empty:hidden">
        {problem}
      </p>
    </Card>
  );
}

/** As whom one may come in. */
function Ways({
  guests,
  token,
  busy,
  onTake,
}: {
  guests: boolean;
  token: string;
  busy: boolean;
  onTake: (guest?: string) => void;
}): ReactElement {
  const config = useConfig();
  const me = useKnown((state) => (state.session?.tokens ? state.session.user : null));
  if (me?.is_guest && !guests) {
    return (
      <>
        <p className="mt-5 text-center">
          This link is for people with an account, and you are here as a guest. Create one from your
          menu and open the link again.
        </p>
        <Link href="/" className={`${LINK} mt-4`}>
          Go to your conversations
        </Link>
      </>
    );
  }
  if (me) {
    return (
      <div className="mt-5">
        <Button kind="primary" className="w-full" aria-disabled={busy} onClick={() => onTake()}>
          Join
        </Button>
        <p className="mt-2 text-center text-muted text-sm">You come in as {me.name}.</p>
      </div>
    );
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onTake(String(new FormData(event.currentTarget).get("name")).trim());
  };
  const byName = guests && config?.guests_allowed;
  return (
    <>
      {byName && (
        <form className="mt-5 space-y-3" onSubmit={submit}>
          <Field
            label="Your name"
            name="name"
            autoComplete="name"
            maxLength={80}
            pattern=".*\S.*"
            title="A name"
            hint="How the others see you. You can create an account later and keep everything."
            required
          />
          <Button type="submit" kind="primary" className="w-full" aria-disabled={busy}>
            Join as guest
          </Button>
        </form>
      )}
      <Link
        href={`/login?next=${encodeURIComponent(`/join/${token}`)}`}
        className={`${LINK} ${byName ? "mt-2" : "mt-5"}`}
      >
        Sign in
      </Link>
    </>
  );
}

function Card({
  title,
  avatar,
  children,
}: {
  title?: string;
  avatar?: ReactNode;
  children: ReactNode;
}): ReactElement {
  return (
    <main className="flex min-h-full items-center justify-center p-4">
      <div className="w-full max-w-sm rounded-2xl border border-line bg-raised p-6">
        {avatar && <div className="mb-3 flex justify-center">{avatar}</div>}
        {title && (
          <h1 className="mb-1 text-center font-serif text-2xl tracking-tight [overflow-wrap:anywhere]">
            {title}
          </h1>
        )}
        {children}
      </div>
    </main>
  );
}
