/** How menus look. */

export const MENU = "z-50 rounded-xl border border-line bg-raised p-1.5 shadow-raised";
export const ITEM =
  "flex min-h-9 cursor-pointer select-none items-center gap-2.5 rounded-md px-2.5 text-sm outline-none data-[highlighted]:bg-hover data-[disabled]:opacity-50 [&_svg]:size-4 [&_svg]:text-muted";
