import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/shell/App";
import { Crash } from "./app/shell/Crash";
import { ClientContext } from "./app/useClient";
import { applyTheme } from "./ui/theme";
import "./app.css";
import { Client, ServerError, SignedOut } from "./client";

applyTheme();

const client = new Client({ storage: localStorage, locks: navigator.locks });
const queries = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (failures, error) =>
        !(error instanceof SignedOut) &&
        !(error instanceof ServerError && !error.passing) &&
        failures < 3,
    },
  },
});

window.addEventListener("storage", (event) => client.storageChanged(event.key));
window.addEventListener("online", () => client.wake());
window.addEventListener("offline", () => client.wake());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") client.wake();
});
// Another person's answers are no answers.
let person = client.store.getState().session?.user.id;
client.store.subscribe(({ session }) => {
  if (session?.user.id !== person) queries.clear();
  person = session?.user.id;
});
client.start();

const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root.");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <ClientContext value={client}>
        <Crash>
          <App />
        </Crash>
      </ClientContext>
    </QueryClientProvider>
  </StrictMode>,
);
