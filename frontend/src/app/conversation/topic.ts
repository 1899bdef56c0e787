/** A forum's topic, as its own page knows it: the row that the forum lists of it. */

import { useEffect } from "react";
import { expected, may, type TopicState } from "../../client";
import { useClient, useKnown } from "../useClient";

export interface Topic {
  row: TopicState;
  /** Whether one may change it and accept answers: whose it is, and moderators. */
  mayChange: boolean;
  mayPin: boolean;
  mayVote: boolean;
}

/** Null where a conversation is no topic, or its row is not known yet. */
export function useTopic(conversation: string): Topic | null {
  const me = useKnown((state) => state.session?.user.id);
  const forum = useForumOf(conversation);
  const room = useKnown((state) => (forum ? state.followed[forum]?.data : undefined));
  const row = room?.topics[conversation];
  if (!row || row.deleted) return null;
  const role = Object.values(room?.members ?? {}).find(
    (member) => member.user?.id === me && member.left_at === null,
  )?.role;
  const allowed = (action: Parameters<typeof may>[0]) =>
    role !== undefined && room?.state ? may(action, role, room.state) : false;
  return {
    row,
    mayChange: row.author?.id === me || allowed("topics"),
    mayPin: allowed("pin_topic"),
    mayVote: allowed("vote"),
  };
}

/** The forum whose topic a conversation is. */
export function useForumOf(conversation: string): string | null {
  return useKnown((state) => {
    const about = state.followed[conversation]?.data.state;
    return about?.kind === "discussion" ? about.parent : null;
  });
}

/** Follow the room whose members a topic or thread has, and have the topic's row at hand. */
export function useRoomOf(conversation: string): void {
  const client = useClient();
  const room = useKnown((state) => state.followed[conversation]?.data.state?.members_of);
  const forum = useForumOf(conversation);
  useEffect(() => {
    if (room && room !== conversation) return client.open(room);
  }, [client, conversation, room]);
  const ready = useKnown((state) => (forum ? state.followed[forum]?.data.epoch != null : false));
  useEffect(() => {
    // Its page is left as missing if it is gone.
    if (forum && ready) client.loadTopic(forum, conversation).catch(expected);
  }, [client, conversation, forum, ready]);
}
