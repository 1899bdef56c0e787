import { Menu } from "lucide-react";
import { createContext, type ReactElement, useContext } from "react";
import { IconButton } from "./controls";

/** How a page opens the list; null where the list is always there. */
export const OpenSidebar = createContext<(() => void) | null>(null);

/** Opens the list; nothing where the list is always there. */
export function SidebarButton(): ReactElement | null {
  const open = useContext(OpenSidebar);
  if (!open) return null;
  return (
    <IconButton label="Open conversations" onClick={open}>
      <Menu aria-hidden />
    </IconButton>
  );
}
