/** Times as people read them. */

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dateAndYear = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "long",
  year: "numeric",
});
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

function daysAgo(when: Date): number {
  const midnight = (one: Date) => new Date(one.getFullYear(), one.getMonth(), one.getDate());
  return Math.round((midnight(new Date()).getTime() - midnight(when).getTime()) / 86_400_000);
}

export function time(iso: string): string {
  return clock.format(new Date(iso));
}

/** When, in as few characters as a list has room for. */
export function briefly(iso: string): string {
  const when = new Date(iso);
  return daysAgo(when) === 0 ? clock.format(when) : date.format(when);
}

/** The day, as the heading over what was said on it. */
export function day(iso: string): string {
  const when = new Date(iso);
  const ago = daysAgo(when);
  if (ago === 0) return "Today";
  return ago === 1 ? "Yesterday" : dateAndYear.format(when);
}

export function exactly(iso: string): string {
  return moment.format(new Date(iso));
}

/** A moment to come, with its day unless that is today. */
export function until(iso: string): string {
  return daysAgo(new Date(iso)) === 0 ? time(iso) : exactly(iso);
}
