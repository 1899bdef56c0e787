import { type ReactElement, useEffect, useState } from "react";
import { useLocation } from "wouter";
import { type AssistantState, expected } from "../../client";
import { Avatar, Button } from "../../ui/controls";
import { SidebarButton } from "../../ui/SidebarButton";
import { Composer } from "../conversation/Composer";
import { useDraft } from "../conversation/drafts";
import { useClient, useKnown, useMe } from "../useClient";

const LAST = "chatire.assistant";

/** A new chat: whom to talk to, and the first message. */
export function Home(): ReactElement {
  const client = useClient();
  const me = useMe();
  const [, navigate] = useLocation();
  const [text, setText] = useDraft(me?.id ?? "", "new");
  const [chosen, choose] = useState(() => localStorage.getItem(LAST));
  const [model, setModel] = useState("");
  const [opening, setOpening] = useState(false);
  const [problem, setProblem] = useState("");
  const assistants = useKnown((state) => state.feed.assistants);
  const failed = useKnown((state) => state.feedFailed);
  useEffect(() => {
    document.title = "New chat — Chatire";
  }, []);

  const assistant = assistants?.find((one) => one.slug === chosen) ?? assistants?.[0];
  const models = assistant ? modelsOf(assistant) : [];

  const send = (content: string) => {
    if (!assistant || opening) return;
    setOpening(true);
    setProblem("");
    client
      .createConversation({
        kind: "assistant",
        assistant: assistant.slug,
        model: models.includes(model) ? model : "",
      })
      .then((conversation) => {
        client.outbox.send(conversation.id, content);
        setText("");
        navigate(`/c/${conversation.id}`);
      })
      .catch((error: unknown) => {
        setOpening(false);
        setProblem(expected(error).message);
      });
  };

  return (
    <main className="relative flex min-h-0 flex-1 flex-col md:justify-center md:pb-[12vh]">
      <div className="flex h-14 shrink-0 items-center px-3 md:hidden">
        <SidebarButton />
      </div>
      <div className="flex min-h-0 flex-1 flex-col items-center justify-center overflow-y-auto px-4 pt-1 pb-6 md:flex-none">
        <h1 className="text-center font-serif text-2xl tracking-tight sm:text-3xl">
          What would you like to talk about?
        </h1>
        {!assistants && failed && (
          <div className="mt-6 text-center text-muted">
            The assistants could not be loaded.
            <div className="mt-2">
              <Button onClick={() => void client.sync.refresh()}>Try again</Button>
            </div>
          </div>
        )}
        {assistants?.length === 0 && (
          <p className="mt-6 text-center text-muted">There is no assistant yet.</p>
        )}
        {assistant && (
          <fieldset className="mt-8 grid w-full max-w-[46rem] gap-3 sm:grid-cols-2">
            <legend className="sr-only">Assistant</legend>
            {assistants?.map((one) => (
              <Choice
                key={one.id}
                assistant={one}
                chosen={one.id === assistant.id}
                onChoose={() => {
                  localStorage.setItem(LAST, one.slug);
                  choose(one.slug);
                }}
              />
            ))}
          </fieldset>
        )}
        {models.length > 1 && (
          <label className="mt-4 flex items-center gap-2 text-muted text-sm">
            Model
            <select
              value={models.includes(model) ? model : models[0]}
              onChange={(event) => setModel(event.target.value)}
              className="h-9 rounded-lg border border-line bg-raised px-2 text-ink"
            >
              {models.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {problem && (
        <p role="alert" className="px-4 pb-2 text-center text-danger text-sm">
          {problem}
        </p>
      )}
      <Composer
        text={text}
        onText={setText}
        onSend={send}
        placeholder={assistant ? `Message ${assistant.name}` : "Message"}
        disabled={!assistant || opening}
      />
    </main>
  );
}

function modelsOf(assistant: AssistantState): string[] {
  return [...new Set([assistant.model, ...assistant.allowed_models])].filter((name) => name !== "");
}

function Choice({
  assistant,
  chosen,
  onChoose,
}: {
  assistant: AssistantState;
  chosen: boolean;
  onChoose: () => void;
}): ReactElement {
  return (
    <label className="flex cursor-pointer items-center gap-3 rounded-xl border border-line bg-raised p-3.5 transition-colors hover:bg-hover has-checked:border-accent has-focus-visible:outline-2 has-focus-visible:outline-accent has-checked:ring-1 has-checked:ring-accent">
      <input
        type="radio"
        name="assistant"
        className="sr-only"
        checked={chosen}
        onChange={onChoose}
      />
      <Avatar name={assistant.name} avatar={assistant.avatar} />
      <span className="min-w-0">
        <span className="block font-medium">{assistant.name}</span>
        <span className="block text-muted text-sm">{assistant.description}</span>
      </span>
    </label>
  );
}
