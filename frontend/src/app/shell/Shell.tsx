import { Dialog } from "radix-ui";
import { type ReactElement, type ReactNode, useEffect, useState } from "react";
import { useLocation } from "wouter";
import { OpenSidebar } from "../../ui/SidebarButton";
import { useMedia } from "../../ui/useMedia";
import { loadMarkdown } from "../conversation/markdown";
import { ConnectionBanner } from "./ConnectionBanner";
import { Sidebar } from "./Sidebar";

/** The frame of every page: the list beside it, or behind a button where there is no room. */
export function Shell({ children }: { children: ReactNode }): ReactElement {
  const wide = useMedia("(min-width: 48rem)");
  const [open, setOpen] = useState(false);
  const [path] = useLocation();
  useEffect(() => {
    // Whoever shows a message asks again, and does without if it fails.
    loadMarkdown().catch(() => null);
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: going elsewhere closes the drawer
  useEffect(() => setOpen(false), [path]);
  return (
    <OpenSidebar value={wide ? null : () => setOpen(true)}>
      <a
        href="#page"
        className="-top-20 absolute start-3 z-50 rounded-lg bg-accent px-4 py-2 text-on-accent focus:top-3"
      >
        Skip to the page
      </a>
      <div className="flex h-dvh">
        {wide ? (
          <aside aria-label="Sidebar" className="w-72 shrink-0 border-line border-e bg-panel">
            <Sidebar />
          </aside>
        ) : (
          <Dialog.Root open={open} onOpenChange={setOpen}>
            <Dialog.Portal>
              <Dialog.Overlay className="fixed inset-0 z-30 bg-black/40" />
              <Dialog.Content
                aria-describedby={undefined}
                className="fixed inset-y-0 start-0 z-40 w-[min(20rem,86vw)] border-line border-e bg-panel"
              >
                <Dialog.Title className="sr-only">Conversations</Dialog.Title>
                <Sidebar onLeave={() => setOpen(false)} />
              </Dialog.Content>
            </Dialog.Portal>
          </Dialog.Root>
        )}
        <div id="page" tabIndex={-1} className="flex min-w-0 flex-1 flex-col outline-none">
          <ConnectionBanner />
          {children}
        </div>
      </div>
    </OpenSidebar>
  );
}
