import { Component, type ReactNode } from "react";
import { Button } from "../../ui/controls";

/** A mistake of ours must not leave a blank page. Nothing is lost by loading it again. */
export class Crash extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="flex min-h-full items-center justify-center p-6 text-center">
        <div role="alert">
          <h1 className="font-serif text-2xl">Something went wrong on this page</h1>
          <p className="mt-1 mb-4 text-muted">Your conversations and drafts are safe.</p>
          <Button kind="primary" onClick={() => location.reload()}>
            Load the page again
          </Button>
        </div>
      </main>
    );
  }
}
