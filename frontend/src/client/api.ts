/** The REST API: typed by the schema, authorised by the session, its errors translated once. */

import createClient from "openapi-fetch";
import { errorBody, ServerError, SignedOut, Unreachable } from "./errors.ts";
import type { FeedQuestion } from "./feed.ts";
import type {
  Changes,
  MemberState,
  MessageState,
  MineState,
  Notification,
  OwnTallyState,
  PersonChanges,
  PersonStatusState,
  RoomState,
  SendAnswer,
  ThreadAnswer,
  ThreadItem,
  ThreadSendAnswer,
  TopicState,
} from "./protocol.ts";
import type { components, operations, paths } from "./schema.d.ts";
import { type KeyValue, type Me, type SignIn, Tokens } from "./tokens.ts";

type Schemas = components["schemas"];

/** A link into a room. */
export type Invitation = Schemas["InvitationBody"];
/** Somebody's asking to be let into a room. */
export type JoinRequest = Schemas["RequestBody"];
/** A room as the directory lists it. */
export type ListedRoom = Schemas["ListedRoom"];

/** Who can be named, and by what. */
export type Mentionable = Schemas["MentionableState"];

/** A message that somebody reported, for who decides about it. */
export type Report = Schemas["ReportBody"];
export type ReportReason = Schemas["NewReportRequest"]["reason"];
export type Resolution = Schemas["PatchedResolutionRequest"];
/** What a message said before. */
export type Revision = Schemas["RevisionBody"];
/** Who did what in a room. */
export type AuditEntry = Schemas["AuditBody"];
/** Which topics of a forum are asked for. */
export type TopicsQuery = NonNullable<operations["topics_list"]["parameters"]["query"]>;
export type Person = Schemas["PersonState"];

/** Somebody one may write to. */
export type KnownPerson = Schemas["KnownPerson"];
/** Somebody who may not come into a room. */
export type Ban = Schemas["BanBody"];

/** Part of a list, and where the next part begins; null at its end. */
export interface Page<T> {
  results: T[];
  cursor: string | null;
}

/** What a client must know before anyone signs in. */
export interface Config {
  ws_url: string;
  guests_allowed: boolean;
  registration_open: boolean;
}

export interface ApiOptions {
  /** The server's origin; empty: the page's own. */
  base?: string;
  storage: KeyValue;
  locks?: LockManager | undefined;
  fetch?: (request: Request) => Promise<Response>;
}

/** A request that takes longer (ms) counts as unanswered. */
const TIMEOUT = 20_000;

export class Api {
  readonly tokens: Tokens;
  readonly #base: string;
  readonly #fetch: (request: Request) => Promise<Response>;
  /** For whoever is not signed in. */
  readonly #open: ReturnType<typeof createClient<paths>>;
  readonly #signed: ReturnType<typeof createClient<paths>>;

  constructor(options: ApiOptions) {
    this.#base = options.base ?? "";
    this.#fetch = options.fetch ?? ((request) => globalThis.fetch(request));
    this.tokens = new Tokens({
      storage: options.storage,
      locks: options.locks,
      refresh: (refresh) => this.#refresh(refresh),
    });
    const common = { baseUrl: this.#base, headers: { Accept: "application/json" } };
    this.#open = createClient<paths>({ ...common, fetch: (request) => this.#bare(request) });
    this.#signed = createClient<paths>({
      ...common,
      fetch: (request) => this.#authorised(request),
    });
  }

  // --- Requests -----------------------------------------------------------------------------

  async #bare(request: Request): Promise<Response> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT);
      const response = await this.#fetch(new Request(request, { signal }));
      // The connection may be lost in the middle of an answer, too.
      // Chromium gives an answer without content an empty body, which a Response may not have.
      if (!response.body || response.status === 204) return response;
      return new Response(await response.text(), response);
    } catch (error) {
      // What fetch throws when there is no answer: TypeError, or DOMException on a time-out.
      if (error instanceof TypeError || error instanceof DOMException) throw new Unreachable();
      throw error;
    }
  }

  async #authorised(request: Request): Promise<Response> {
    const asker = this.tokens.session?.user.id;
    // What one person asks is neither done in the next one's name nor answered to them.
    const unlessOther = <T>(value: T): T => {
      if (this.tokens.session?.user.id !== asker) throw new SignedOut();
      return value;
    };
    const token = unlessOther(await this.tokens.access());
    const again = request.clone();
    request.headers.set("Authorization", `Bearer ${token}`);
    const response = unlessOther(await this.#bare(request));
    if (response.status !== 401) return response;
    const renewed = unlessOther(await this.tokens.renew(token));
    again.headers.set("Authorization", `Bearer ${renewed}`);
    const second = unlessOther(await this.#bare(again));
    if (second.status === 401) this.tokens.expire();
    return second;
  }

  async #refresh(refresh: string): Promise<SignIn> {
    return answer(this.#open.POST("/api/auth/token/refresh/", { body: { refresh } }));
  }

  async config(): Promise<Config> {
    const response = await this.#bare(new Request(absolute(this.#base, "/api/config/")));
    const body: unknown = await response.json();
    if (!response.ok) throw new ServerError(errorBody(body, response.status), response.status);
    // The one endpoint outside the schema.
    return body as Config;
  }

  // --- Accounts -----------------------------------------------------------------------------

  async signIn(username: string, password: string): Promise<Me> {
    return this.#accept(
      await answer(this.#open.POST("/api/auth/token/", { body: { username, password } })),
    );
  }

  async register(body: Schemas["RegistrationRequest"]): Promise<Me> {
    return this.#accept(await answer(this.#open.POST("/api/auth/register/", { body })));
  }

  async guest(display_name = ""): Promise<Me> {
    return this.#accept(
      await answer(this.#open.POST("/api/auth/guest/", { body: { display_name } })),
    );
  }

  /** Turn the guest who asks into an account; they keep everything. */
  async claim(body: Schemas["ClaimRequest"]): Promise<Me> {
    const me = await answer(this.#signed.POST("/api/auth/claim/", { body }));
    this.tokens.update(me);
    return me;
  }

  /**
   * From the guest one is to the account one has. With `keep`, what the guest did becomes the
   * account's; `accounts.merged` tells when it is.
   */
  async leaveGuest(username: string, password: string, keep: boolean): Promise<Me> {
    const guest = this.tokens.session?.tokens?.refresh;
    const body = { username, password };
    const tokens = await answer(this.#open.POST("/api/auth/token/", { body }));
    if (keep && guest) {
      const headers = { Authorization: `Bearer ${tokens.access}` };
      await answer(this.#open.POST("/api/me/merge/", { body: { guest }, headers }));
    }
    return this.#accept(tokens);
  }

  /** End the session, here at once and on the server as soon as it hears of it. */
  async signOut(): Promise<void> {
    const refresh = this.tokens.session?.tokens?.refresh;
    this.tokens.clear();
    if (refresh) await answer(this.#open.POST("/api/auth/token/revoke/", { body: { refresh } }));
  }

  #accept(tokens: Schemas["Tokens"]): Me {
    this.tokens.accept(tokens);
    return tokens.user;
  }

  // --- Conversations ------------------------------------------------------------------------

  /** The same answer as the socket's `sync` gives: one's list, and all else one begins with. */
  async personChanges(query: FeedQuestion): Promise<PersonChanges> {
    return answer(this.#signed.GET("/api/me/changes/", { params: { query } }));
  }

  async createConversation(body: Schemas["NewConversationRequest"]): Promise<RoomState> {
    return answer(this.#signed.POST("/api/conversations/", { body }));
  }

  async rename(conversation_id: string, title: string): Promise<RoomState> {
    const params = { path: { conversation_id } };
    const body = { title };
    return answer(this.#signed.PATCH("/api/conversations/{conversation_id}/", { params, body }));
  }

  /** Change what a room is called, who comes in, and who may do what. */
  async changeRoom(
    conversation_id: string,
    body: Schemas["PatchedConversationPatchRequest"],
  ): Promise<RoomState> {
    const params = { path: { conversation_id } };
    return answer(this.#signed.PATCH("/api/conversations/{conversation_id}/", { params, body }));
  }

  /** The one conversation of these people and oneself. */
  async openDirect(people: string[]): Promise<RoomState> {
    return answer(this.#signed.POST("/api/direct/", { body: { people } }));
  }

  /** A page of the people one may write to, those with `q` in their names. */
  async people(query: { q?: string; cursor?: string }): Promise<Page<KnownPerson>> {
    return pageOf(await answer(this.#signed.GET("/api/people/", { params: { query } })));
  }

  async deleteConversation(conversation_id: string): Promise<void> {
    const params = { path: { conversation_id } };
    await answer(this.#signed.DELETE("/api/conversations/{conversation_id}/", { params }));
  }

  /** The same answer as the socket's `subscribe` gives. */
  async changes(conversation_id: string, since: number | null): Promise<Changes> {
    const params = { path: { conversation_id }, query: since === null ? {} : { since } };
    return answer(this.#signed.GET("/api/conversations/{conversation_id}/changes/", { params }));
  }

  async read(conversation_id: string, number: number): Promise<MineState> {
    const params = { path: { conversation_id } };
    const body = { number };
    const path = "/api/conversations/{conversation_id}/read/";
    return (await answer(this.#signed.POST(path, { params, body }))).mine;
  }

  /** Change what one is told of a conversation, or its place among the pinned. */
  async markUnread(conversation_id: string, message: string): Promise<MineState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/unread/";
    return (await answer(this.#signed.POST(path, { params, body: { message } }))).mine;
  }

  /** Say something of oneself, until then (ISO 8601); nothing takes it back. */
  async setStatus(
    emoji: string,
    text: string,
    until: string | null,
  ): Promise<PersonStatusState | null> {
    const body = { emoji, text, until };
    return (await answer(this.#signed.PUT("/api/me/status/", { body }))).status;
  }

  async changeMine(
    conversation_id: string,
    body: Partial<Pick<MineState, "level" | "muted_until" | "pinned" | "follows">>,
  ): Promise<MineState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/mine/";
    return (await answer(this.#signed.PATCH(path, { params, body }))).mine;
  }

  // --- Rooms --------------------------------------------------------------------------------

  /** A page of the rooms that may be found, those with `q` in their names. */
  async rooms(query: { q?: string; cursor?: string }): Promise<Page<ListedRoom>> {
    return pageOf(await answer(this.#signed.GET("/api/rooms/", { params: { query } })));
  }

  /** Come into an open room. */
  async join(conversation_id: string): Promise<RoomState> {
    const params = { path: { conversation_id } };
    return answer(this.#signed.POST("/api/conversations/{conversation_id}/join/", { params }));
  }

  /** Ask to be let into a listed room; asking again changes nothing. */
  async askToJoin(conversation_id: string): Promise<JoinRequest> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/requests/";
    return answer(this.#signed.POST(path, { params, body: {} }));
  }

  /** The first hundred who ask to be let in, the one who asked first in front. */
  async requests(conversation_id: string): Promise<JoinRequest[]> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/requests/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  /** Let somebody in who asked, or not. */
  async decide(conversation_id: string, request_id: string, accept: boolean): Promise<JoinRequest> {
    const params = { path: { conversation_id, request_id } };
    const path = "/api/conversations/{conversation_id}/requests/{request_id}/";
    return answer(this.#signed.PATCH(path, { params, body: { accept } }));
  }

  /** A page of a room's members, those with `q` in their names. */
  async members(
    conversation_id: string,
    query: { q?: string; cursor?: string },
  ): Promise<Page<MemberState>> {
    const params = { path: { conversation_id }, query };
    const path = "/api/conversations/{conversation_id}/members/";
    return pageOf(await answer(this.#signed.GET(path, { params })));
  }

  /** Those in a room whom one may name, the first of those whose names begin so. */
  async mentionable(conversation_id: string, q: string): Promise<Mentionable[]> {
    const params = { path: { conversation_id }, query: { q } };
    const path = "/api/conversations/{conversation_id}/mentionable/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  /** A page of the messages that name one, the newest first. */
  async myMentions(query: { cursor?: string }): Promise<Page<MessageState>> {
    return pageOf(await answer(this.#signed.GET("/api/me/mentions/", { params: { query } })));
  }

  /** Bring an assistant into a room. */
  async addAssistant(conversation_id: string, assistant: string): Promise<MemberState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/members/";
    return answer(this.#signed.POST(path, { params, body: { assistant } }));
  }

  /** Say what an assistant replies to in a room, and what it is told of. */
  async changeAssistant(
    conversation_id: string,
    member_id: string,
    body: Partial<Pick<MemberState, "hears" | "reads">>,
  ): Promise<MemberState> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/";
    return answer(this.#signed.PATCH(path, { params, body }));
  }

  /** Change a member's role, or what they are called here. */
  async changeMember(
    conversation_id: string,
    member_id: string,
    body: Schemas["PatchedMemberPatchRequest"],
  ): Promise<MemberState> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/";
    return answer(this.#signed.PATCH(path, { params, body }));
  }

  /** The first hundred who may not come in. */
  async bans(conversation_id: string): Promise<Ban[]> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/bans/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  async liftBan(conversation_id: string, ban_id: string): Promise<void> {
    const params = { path: { conversation_id, ban_id } };
    await answer(
      this.#signed.DELETE("/api/conversations/{conversation_id}/bans/{ban_id}/", { params }),
    );
  }

  /** Remove a member, or leave. */
  async removeMember(conversation_id: string, member_id: string): Promise<void> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/";
    await answer(this.#signed.DELETE(path, { params }));
  }

  /** Let people wait so many seconds between two messages; 0: no longer. */
  async slowDown(conversation_id: string, slow_seconds: number): Promise<RoomState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/";
    return answer(this.#signed.PATCH(path, { params, body: { slow_seconds } }));
  }

  /** Let a member say nothing until then; null: let them speak again. */
  async silence(
    conversation_id: string,
    member_id: string,
    until: string | null,
    reason = "",
  ): Promise<MemberState> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/silence/";
    if (until === null) return answer(this.#signed.DELETE(path, { params }));
    return answer(this.#signed.PUT(path, { params, body: { until, reason } }));
  }

  /** Remove a member, and let nobody bring them back. */
  async ban(conversation_id: string, member_id: string, reason = ""): Promise<void> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/ban/";
    await answer(this.#signed.POST(path, { params, body: { reason } }));
  }

  /** Delete what a member said in the last 24 hours; returns how many messages. */
  async deleteMessagesOf(conversation_id: string, member_id: string, reason = ""): Promise<number> {
    const params = { path: { conversation_id, member_id } };
    const path = "/api/conversations/{conversation_id}/members/{member_id}/messages/removal/";
    return (await answer(this.#signed.POST(path, { params, body: { reason } }))).deleted;
  }

  /** The first hundred reports that one is to decide about, the oldest first. */
  async reports(conversation_id: string): Promise<Report[]> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/reports/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  async resolve(conversation_id: string, report_id: string, body: Resolution): Promise<Report> {
    const params = { path: { conversation_id, report_id } };
    const path = "/api/conversations/{conversation_id}/reports/{report_id}/";
    return answer(this.#signed.PATCH(path, { params, body }));
  }

  /** A page of what was done in a room to keep order, the newest first. */
  async audit(conversation_id: string, query: { cursor?: string }): Promise<Page<AuditEntry>> {
    const params = { path: { conversation_id }, query };
    const path = "/api/conversations/{conversation_id}/audit/";
    return pageOf(await answer(this.#signed.GET(path, { params })));
  }

  /** The fifty messages pinned last, the newest first. */
  async pins(conversation_id: string): Promise<MessageState[]> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/pins/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  /** Want nothing from somebody, or no longer; returns whom one blocks now. */
  async block(user_id: string, on: boolean): Promise<string[]> {
    const params = { path: { user_id } };
    const path = "/api/me/blocks/{user_id}/";
    const request = on ? this.#signed.PUT(path, { params }) : this.#signed.DELETE(path, { params });
    return (await answer(request)).blocks;
  }

  /** The people whom one blocks. */
  async blocked(): Promise<Person[]> {
    return (await answer(this.#signed.GET("/api/me/blocks/"))).results;
  }

  /** Close a room to writing, or open it again. */
  async archive(conversation_id: string, archived: boolean): Promise<RoomState> {
    const params = { path: { conversation_id } };
    const path = archived
      ? "/api/conversations/{conversation_id}/archive/"
      : "/api/conversations/{conversation_id}/unarchive/";
    return answer(this.#signed.POST(path, { params }));
  }

  /** The first hundred links into a room that were not ended, the oldest first. */
  async invitations(conversation_id: string): Promise<Invitation[]> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  async createInvitation(
    conversation_id: string,
    body: Schemas["NewInvitationRequest"],
  ): Promise<Invitation> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/";
    return answer(this.#signed.POST(path, { params, body }));
  }

  /** End a link's address and make another. */
  async renewInvitation(conversation_id: string, invitation_id: string): Promise<Invitation> {
    const params = { path: { conversation_id, invitation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/{invitation_id}/";
    return answer(this.#signed.PATCH(path, { params, body: { renew: true } }));
  }

  /** The first hundred who came by a link and are still there. */
  async invited(conversation_id: string, invitation_id: string): Promise<MemberState[]> {
    const params = { path: { conversation_id, invitation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/{invitation_id}/members/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  /** End a link and remove all who came by it; returns how many that were. */
  async removeInvited(conversation_id: string, invitation_id: string): Promise<number> {
    const params = { path: { conversation_id, invitation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/{invitation_id}/members/";
    return (await answer(this.#signed.DELETE(path, { params }))).removed;
  }

  async revokeInvitation(conversation_id: string, invitation_id: string): Promise<void> {
    const params = { path: { conversation_id, invitation_id } };
    const path = "/api/conversations/{conversation_id}/invitations/{invitation_id}/";
    await answer(this.#signed.DELETE(path, { params }));
  }

  /** Where a link leads; needs nobody signed in. */
  async invitation(token: string): Promise<Schemas["InvitationPreview"]> {
    const params = { path: { token } };
    return answer(this.#open.GET("/api/invitations/{token}/", { params }));
  }

  /** Take a link, as who is signed in, or under this name as a new guest, who then is. */
  async takeInvitation(token: string, guest?: string): Promise<Schemas["TakenInvitation"]> {
    const path = "/api/invitations/{token}/";
    const params = { path: { token } };
    if (guest === undefined) return answer(this.#signed.POST(path, { params, body: {} }));
    const body = { guest: { name: guest } };
    const taken = await answer(this.#open.POST(path, { params, body }));
    if (taken.tokens) this.#accept(taken.tokens);
    return taken;
  }

  // --- Forums -------------------------------------------------------------------------------

  /** A page of a forum's topics, the pinned ones first. */
  async topics(conversation_id: string, query: TopicsQuery): Promise<Page<TopicState>> {
    const params = { path: { conversation_id }, query };
    const path = "/api/conversations/{conversation_id}/topics/";
    return pageOf(await answer(this.#signed.GET(path, { params })));
  }

  /** Begin a topic; the same `client_id` again is the same topic. */
  async createTopic(
    conversation_id: string,
    body: Schemas["NewTopicRequest"],
  ): Promise<Schemas["BegunTopic"]> {
    const params = { path: { conversation_id } };
    return answer(
      this.#signed.POST("/api/conversations/{conversation_id}/topics/", { params, body }),
    );
  }

  async topic(conversation_id: string): Promise<TopicState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/topic/";
    return (await answer(this.#signed.GET(path, { params }))).topic;
  }

  async changeTopic(
    conversation_id: string,
    body: Schemas["PatchedTopicPatchRequest"],
  ): Promise<TopicState> {
    const params = { path: { conversation_id } };
    const path = "/api/conversations/{conversation_id}/topic/";
    return (await answer(this.#signed.PATCH(path, { params, body }))).topic;
  }

  /** Vote for a topic, by its first message, or for an answer, or take it back. */
  async vote(message_id: string, on: boolean): Promise<OwnTallyState> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/vote/";
    const request = on ? this.#signed.PUT(path, { params }) : this.#signed.DELETE(path, { params });
    return (await answer(request)).tally;
  }

  /** Accept an answer in place of another, or accept it no more. */
  async accept(message_id: string, on: boolean, instead_of: string | null): Promise<TopicState> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/accept/";
    const request = on
      ? this.#signed.PUT(path, { params, body: { instead_of } })
      : this.#signed.DELETE(path, { params });
    return (await answer(request)).topic;
  }

  // --- Messages -----------------------------------------------------------------------------

  async message(message_id: string): Promise<MessageState> {
    const params = { path: { message_id } };
    return answer(this.#signed.GET("/api/messages/{message_id}/", { params }));
  }

  async pin(message_id: string, on: boolean): Promise<MessageState> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/pin/";
    const request = on ? this.#signed.PUT(path, { params }) : this.#signed.DELETE(path, { params });
    return (await answer(request)).message;
  }

  /** Delete what another said, and say why. */
  async removeMessage(message_id: string, reason: string): Promise<MessageState> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/removal/";
    return (await answer(this.#signed.POST(path, { params, body: { reason } }))).message;
  }

  /** Tell those who keep order of a message. */
  async report(message_id: string, reason: ReportReason, note: string): Promise<void> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/report/";
    await answer(this.#signed.POST(path, { params, body: { reason, note } }));
  }

  /** What a message said before, the first wording first. */
  async revisions(message_id: string): Promise<Revision[]> {
    const params = { path: { message_id } };
    const path = "/api/messages/{message_id}/revisions/";
    return (await answer(this.#signed.GET(path, { params }))).results;
  }

  /** A page of history before a `created_seq`, oldest first. */
  async messages(conversation_id: string, before: number): Promise<Schemas["MessagePageBody"]> {
    const params = { path: { conversation_id }, query: { before } };
    return answer(this.#signed.GET("/api/conversations/{conversation_id}/messages/", { params }));
  }

  async send(conversation_id: string, body: Schemas["NewMessageRequest"]): Promise<SendAnswer> {
    const params = { path: { conversation_id } };
    return answer(
      this.#signed.POST("/api/conversations/{conversation_id}/messages/", { params, body }),
    );
  }

  /** What hangs on a message. */
  async thread(message_id: string): Promise<ThreadAnswer> {
    const params = { path: { message_id } };
    return answer(this.#signed.GET("/api/messages/{message_id}/thread/", { params }));
  }

  /** Reply in the thread of a message, which makes it if there is none. */
  async replyInThread(
    message_id: string,
    body: Schemas["NewReplyRequest"],
  ): Promise<ThreadSendAnswer> {
    const params = { path: { message_id } };
    return answer(this.#signed.POST("/api/messages/{message_id}/thread/", { params, body }));
  }

  /** A page of the threads that one follows. */
  async threads(query: { cursor?: string }): Promise<Page<ThreadItem>> {
    return pageOf(await answer(this.#signed.GET("/api/me/threads/", { params: { query } })));
  }

  /** Reword a message; the same `client_id` again is the same edit. */
  async edit(message_id: string, body: Schemas["PatchedMessagePatchRequest"]): Promise<SendAnswer> {
    const params = { path: { message_id } };
    return answer(this.#signed.PATCH("/api/messages/{message_id}/", { params, body }));
  }

  async deleteMessage(message_id: string): Promise<MessageState> {
    const params = { path: { message_id } };
    return (await answer(this.#signed.DELETE("/api/messages/{message_id}/", { params }))).message;
  }

  /** Do the same while the page goes away: a request that outlives it, and whose answer nobody hears. */
  deleteMessageLeaving(message_id: string): void {
    const tokens = this.tokens.session?.tokens;
    if (!tokens) return;
    const request = new Request(absolute(this.#base, `/api/messages/${message_id}/`), {
      method: "DELETE",
      headers: { Accept: "application/json", Authorization: `Bearer ${tokens.access}` },
      keepalive: true,
    });
    // Nobody is there any more to be told.
    this.#fetch(request).catch(() => undefined);
  }

  /** Give an emoji to a message, or take it back; twice is once. */
  async react(message_id: string, emoji: string, on: boolean): Promise<OwnTallyState> {
    const params = { path: { message_id, emoji } };
    const path = "/api/messages/{message_id}/reactions/{emoji}/";
    const request = on ? this.#signed.PUT(path, { params }) : this.#signed.DELETE(path, { params });
    return (await answer(request)).tally;
  }

  async stop(message_id: string): Promise<MessageState> {
    const params = { path: { message_id } };
    return (await answer(this.#signed.POST("/api/messages/{message_id}/stop/", { params })))
      .message;
  }

  async regenerate(message_id: string): Promise<MessageState> {
    const params = { path: { message_id } };
    return (await answer(this.#signed.POST("/api/messages/{message_id}/regenerate/", { params })))
      .message;
  }

  async continueReply(message_id: string): Promise<MessageState> {
    const params = { path: { message_id } };
    return (await answer(this.#signed.POST("/api/messages/{message_id}/continue/", { params })))
      .message;
  }

  // --- Notifications ------------------------------------------------------------------------

  async notifications(): Promise<Notification[]> {
    return (await answer(this.#signed.GET("/api/notifications/"))).results;
  }

  /** Mark some notifications, or all, as read; returns how many are unread now. */
  async readNotifications(ids: string[] | "all"): Promise<number> {
    const body = ids === "all" ? { all: true } : { ids };
    return (await answer(this.#signed.POST("/api/notifications/read/", { body }))).unread;
  }
}

/** Return what the server answered. Throws ServerError, Unreachable or SignedOut. */
async function answer<T>(
  request: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<NonNullable<T>> {
  const { data, error, response } = await request.catch((problem: unknown) => {
    // A page instead of an answer, as of a network that wants one to sign in first.
    throw problem instanceof SyntaxError ? new Unreachable() : problem;
  });
  if (!response.ok) throw new ServerError(errorBody(error, response.status), response.status);
  return data as NonNullable<T>;
}

function pageOf<T>({ results, next }: { results: T[]; next: string | null }): Page<T> {
  return { results, cursor: next === null ? null : new URL(next).searchParams.get("cursor") };
}

function absolute(base: string, path: string): string {
  return new URL(path, base || globalThis.location.href).href;
}
