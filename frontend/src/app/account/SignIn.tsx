import { type FormEvent, type ReactElement, type RefObject, useState } from "react";
import { Redirect, useLocation, useSearchParams } from "wouter";
import { expected, ServerError } from "../../client";
import { Button, Field, Modal } from "../../ui/controls";
import { Logo } from "../../ui/Logo";
import { useClient, useConfig, useKnown, useMe } from "../useClient";

/** Each field's own message, from an `invalid` error, and the message for the whole form. */
interface Problems {
  form: string;
  fields: Record<string, string>;
}

function problemsOf(error: unknown): Problems {
  const problem = expected(error);
  if (!(problem instanceof ServerError)) return { form: problem.message, fields: {} };
  const fields: Record<string, string> = {};
  const listed = problem.details.fields;
  for (const problem of Array.isArray(listed) ? listed : []) {
    const { field, message } = problem as { field?: unknown; message?: unknown };
    if (typeof field === "string" && typeof message === "string") fields[field] ??= message;
  }
  const shown = ["username", "email", "password"].some((name) => name in fields);
  const other = Object.values(fields)[0];
  return { form: shown ? "" : (other ?? problem.message), fields };
}

/** Run a request of a form: while it runs, what is wrong with it, and how to start it. */
function useSubmit(): [boolean, Problems, (work: () => Promise<unknown>) => void] {
  const [busy, setBusy] = useState(false);
  const [problems, setProblems] = useState<Problems>({ form: "", fields: {} });
  const run = (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblems({ form: "", fields: {} });
    work()
      .catch((error: unknown) => setProblems(problemsOf(error)))
      .finally(() => setBusy(false));
  };
  return [busy, problems, run];
}

function valuesOf(event: FormEvent<HTMLFormElement>): Record<string, string> {
  event.preventDefault();
  const values: Record<string, string> = {};
  for (const [name, value] of new FormData(event.currentTarget)) values[name] = String(value);
  return values;
}

function FormProblem({ problems }: { problems: Problems }): ReactElement {
  return (
    <p role="alert" className="text-danger text-sm empty:hidden">
      {problems.form}
    </p>
  );
}

function SignInForm({ username = "" }: { username?: string }): ReactElement {
  const client = useClient();
  const [busy, problems, run] = useSubmit();
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        const { username = "", password = "" } = valuesOf(event);
        run(() => client.api.signIn(username.trim(), password));
      }}
    >
      <Field
        label="Username or e-mail"
        name="username"
        autoComplete="username"
        autoCapitalize="none"
        defaultValue={username}
        error={problems.fields.username}
        required
      />
      <Field
        label="Password"
        name="password"
        type="password"
        autoComplete="current-password"
        autoFocus={username !== ""}
        error={problems.fields.password}
        required
      />
      <FormProblem problems={problems} />
      <Button type="submit" kind="primary" className="w-full" disabled={busy}>
        Sign in
      </Button>
    </form>
  );
}

/** Make an account: a new one, or of the guest one is. */
function AccountForm({
  submit,
  button,
}: {
  submit: (account: { username: string; email: string; password: string }) => Promise<unknown>;
  button: string;
}): ReactElement {
  const [busy, problems, run] = useSubmit();
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        const { username = "", email = "", password = "" } = valuesOf(event);
        run(() => submit({ username: username.trim(), email: email.trim(), password }));
      }}
    >
      <Field
        label="Username"
        name="username"
        autoComplete="username"
        autoCapitalize="none"
        error={problems.fields.username}
        required
      />
      <Field
        label="E-mail (optional)"
        name="email"
        type="email"
        autoComplete="email"
        error={problems.fields.email}
      />
      <Field
        label="Password"
        name="password"
        type="password"
        autoComplete="new-password"
        minLength={8}
        hint="At least 8 characters."
        error={problems.fields.password}
        required
      />
      <FormProblem problems={problems} />
      <Button type="submit" kind="primary" className="w-full" disabled={busy}>
        {button}
      </Button>
    </form>
  );
}

export function SignInPage(): ReactElement {
  const client = useClient();
  const signedIn = useKnown((state) => state.session?.tokens != null);
  const [search] = useSearchParams();
  const [registering, setRegistering] = useState(false);
  const [busy, problems, run] = useSubmit();
  const config = useConfig();
  const next = search.get("next") ?? "/";
  // Only to pages of our own.
  if (signedIn) return <Redirect to={/^\/(?!\/)/.test(next) ? next : "/"} replace />;
  return (
    <main className="flex min-h-full items-center justify-center p-4">
      <div className="w-full max-w-sm">
        <div className="mb-8 text-center">
          <Logo className="mx-auto size-11" />
          <h1 className="mt-4 font-serif text-3xl tracking-tight">Chatire</h1>
          <p className="mt-1 text-muted">Talk with people and assistants, in one place.</p>
        </div>
        <div className="rounded-2xl border border-line bg-raised p-6">
          <h2 className="mb-4 font-medium">
            {registering ? "Create your account" : "Welcome back"}
          </h2>
          {registering ? (
            <AccountForm
              key="register"
              button="Create account"
              submit={(account) => client.api.register(account)}
            />
          ) : (
            <SignInForm key="sign-in" />
          )}
          {config?.registration_open && (
            <p className="mt-4 text-center text-muted text-sm">
              {registering ? "Have an account?" : "New here?"}{" "}
              <button
                type="button"
                className="font-medium text-accent underline underline-offset-2"
                onClick={() => setRegistering(!registering)}
              >
                {registering ? "Sign in instead" : "Create an account"}
              </button>
            </p>
          )}
        </div>
        {config?.guests_allowed && (
          <div className="mt-4 text-center">
            <Button
              className="w-full"
              disabled={busy}
              onClick={() => run(() => client.api.guest())}
            >
              Continue as guest
            </Button>
            <p className="mt-2 text-muted text-sm">
              No account needed. You can create one later and keep your conversations.
            </p>
            <FormProblem problems={problems} />
          </div>
        )}
      </div>
    </main>
  );
}

/** The server no longer takes the session: sign in again, and everything on the page stays. */
export function SignInDialog(): ReactElement {
  const client = useClient();
  const me = useMe();
  const expired = useKnown((state) => state.session !== null && state.session.tokens === null);
  const [, navigate] = useLocation();
  const leave = () => {
    void client.signOut();
    navigate("/login");
  };
  return (
    <Modal
      title="Sign in again"
      description={
        me?.is_guest
          ? "Your guest session has ended. What you were writing is kept on this device."
          : "Your session has ended. What you were writing is kept on this device."
      }
      open={expired}
    >
      {me && !me.is_guest && <SignInForm username={me.username} />}
      <Button className="mt-3 w-full" onClick={leave}>
        {me?.is_guest ? "Start anew" : "Use another account"}
      </Button>
    </Modal>
  );
}

/** A guest who signs out cannot come back: say so, and offer what would keep everything. */
export function LeaveDialog({
  open,
  opener,
  onClose,
  onClaim,
}: {
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
  onClaim: () => void;
}): ReactElement {
  const client = useClient();
  return (
    <Modal
      alert
      title="Sign out and lose everything?"
      description="You are a guest. Once you sign out, nobody can sign in as you again, and all your chats are lost for good, unless you make an account first."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      <div className="flex flex-col gap-2">
        <Button kind="primary" onClick={onClaim}>
          Make an account
        </Button>
        <Button className="text-danger" onClick={() => void client.signOut()}>
          Sign out and lose it
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Modal>
  );
}

/** From guest to an account that one has already. */
export function MergeDialog({
  open,
  opener,
  onClose,
}: {
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  const client = useClient();
  const [busy, problems, run] = useSubmit();
  return (
    <Modal
      title="Sign in to your account"
      description="You are a guest now, and your account can take over what you did."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      <form
        className="space-y-4"
        onSubmit={(event) => {
          const { username = "", password = "", keep } = valuesOf(event);
          run(() => client.api.leaveGuest(username.trim(), password, keep === "on"));
        }}
      >
        <Field
          label="Username or e-mail"
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          error={problems.fields.username}
          required
        />
        <Field
          label="Password"
          name="password"
          type="password"
          autoComplete="current-password"
          error={problems.fields.password}
          required
        />
        <label className="flex cursor-pointer items-start gap-3 rounded-lg border border-line bg-raised p-3">
          <input
            type="checkbox"
            name="keep"
            defaultChecked
            aria-describedby="keep-note"
            aria-label="Keep what you did as a guest"
            className="mt-1 accent-accent"
          />
          <span>
            <span className="block font-medium text-sm">Keep what you did as a guest</span>
            <span id="keep-note" className="block text-muted text-sm">
              Your rooms, messages and reactions become your account's. Without this they are lost
              to you.
            </span>
          </span>
        </label>
        <FormProblem problems={problems} />
        <Button type="submit" kind="primary" className="w-full" disabled={busy}>
          Sign in
        </Button>
      </form>
    </Modal>
  );
}

/** From guest to account. */
export function ClaimDialog({
  open,
  opener,
  onClose,
}: {
  open: boolean;
  opener: RefObject<HTMLElement | null>;
  onClose: () => void;
}): ReactElement {
  const client = useClient();
  return (
    <Modal
      title="Create an account"
      description="You keep all your conversations and can sign in from anywhere."
      open={open}
      opener={opener}
      onClose={onClose}
    >
      <AccountForm
        button="Create account"
        submit={(account) => client.api.claim(account).then(onClose)}
      />
    </Modal>
  );
}
