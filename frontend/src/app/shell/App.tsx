import { type ReactElement, useEffect } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { SignInDialog, SignInPage } from "../account/SignIn";
import { ConversationPage } from "../conversation/ConversationPage";
import { Places } from "../conversation/places";
import { ThreadsPage } from "../conversation/ThreadsPage";
import { ForumPage } from "../forum/ForumPage";
import { useActivity } from "../people/presence";
import { BrowseRooms } from "../rooms/BrowseRooms";
import { Home } from "../rooms/Home";
import { JoinPage } from "../rooms/JoinPage";
import { Mentions } from "../rooms/Mentions";
import { RoomDialogs } from "../rooms/RoomDialogs";
import { useKnown } from "../useClient";
import { Shell } from "./Shell";

/** A conversation, with the thread of one of its messages beside it or without. */
const CONVERSATION = /^\/c\/(?<id>[^/]+)(?:\/t\/(?<root>[^/]+))?\/?$/;

export function App(): ReactElement {
  return (
    <Switch>
      <Route path="/login">
        <SignInPage />
      </Route>
      <Route path="/join/:token">{({ token }) => <JoinPage key={token} token={token} />}</Route>
      <Route>
        <SignedIn />
      </Route>
    </Switch>
  );
}

/** Everything that needs someone to be signed in, or to sign in again. */
function SignedIn(): ReactElement {
  const someone = useKnown((state) => state.session?.user.id);
  const [path] = useLocation();
  useActivity();
  if (someone === undefined) {
    const next = path === "/" ? "" : `?next=${encodeURIComponent(path)}`;
    return <Redirect to={`/login${next}`} replace />;
  }
  return (
    // Nothing of one person's pages outlives them.
    <Shell key={someone}>
      <Places>
        <Switch>
          <Route path="/">
            <Home />
          </Route>
          <Route path="/rooms">
            <BrowseRooms />
          </Route>
          <Route path="/mentions">
            <Mentions />
          </Route>
          <Route path="/threads">
            <ThreadsPage />
          </Route>
          <Route path={CONVERSATION}>
            {({ id = "", root }) => (
              <ConversationPage
                key={id}
                id={id}
                thread={root}
                roomDialogs={RoomDialogs}
                forum={ForumPage}
              />
            )}
          </Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Places>
      <SignInDialog />
    </Shell>
  );
}

function NotFound(): ReactElement {
  useEffect(() => {
    document.title = "Not found — Chatire";
  }, []);
  return (
    <div className="flex flex-1 items-center justify-center p-6 text-center">
      <div>
        <h1 className="font-serif text-2xl">There is no such page</h1>
        <a href="/" className="mt-2 inline-block text-accent underline underline-offset-2">
          Go to your conversations
        </a>
      </div>
    </div>
  );
}
