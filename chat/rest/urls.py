"""REST routes of the chat, under /api/."""

from django.urls import path

from chat.rest import conversations, joining, members, mentions, messages, replies

_ROOM = "conversations/<uuid:conversation_id>/"

urlpatterns = [
    path("assistants/", conversations.AssistantsView.as_view()),
    path("me/changes/", conversations.MyChangesView.as_view()),
    path("me/mentions/", mentions.MyMentionsView.as_view()),
    path("groups/", mentions.GroupsView.as_view()),
    path(f"{_ROOM}mentionable/", mentions.MentionableView.as_view()),
    path("conversations/", conversations.ConversationsView.as_view()),
    path(_ROOM, conversations.ConversationView.as_view()),
    path("rooms/", joining.RoomsView.as_view()),
    path(f"{_ROOM}join/", joining.JoinView.as_view()),
    path(f"{_ROOM}requests/", joining.RequestsView.as_view()),
    path(f"{_ROOM}requests/<uuid:request_id>/", joining.RequestView.as_view()),
    path(f"{_ROOM}invitations/", joining.InvitationsView.as_view()),
    path(f"{_ROOM}invitations/<uuid:invitation_id>/", joining.InvitationView.as_view()),
    path(f"{_ROOM}invitations/<uuid:invitation_id>/members/", joining.InvitedView.as_view()),
    path("invitations/<str:token>/", joining.TakeInvitationView.as_view()),
    path(f"{_ROOM}members/<uuid:member_id>/ban/", members.BanView.as_view()),
    path(f"{_ROOM}bans/", members.BansView.as_view()),
    path(f"{_ROOM}bans/<uuid:ban_id>/", members.LiftedBanView.as_view()),
    path("direct/", conversations.DirectView.as_view()),
    path(f"{_ROOM}archive/", conversations.ArchiveView.as_view()),
    path(f"{_ROOM}unarchive/", conversations.UnarchiveView.as_view()),
    path(f"{_ROOM}messages/", messages.MessagesView.as_view()),
    path(f"{_ROOM}changes/", conversations.ChangesView.as_view()),
    path(f"{_ROOM}read/", conversations.ReadView.as_view()),
    path(f"{_ROOM}mine/", conversations.MineView.as_view()),
    path(f"{_ROOM}members/", members.MembersView.as_view()),
    path(f"{_ROOM}members/<uuid:member_id>/", members.MemberView.as_view()),
    path("messages/<uuid:message_id>/", messages.MessageView.as_view()),
    path("messages/<uuid:message_id>/reactions/", messages.ReactionsView.as_view()),
    path("messages/<uuid:message_id>/reactions/<str:emoji>/", messages.ReactionView.as_view()),
    path("messages/<uuid:message_id>/stop/", replies.StopView.as_view()),
    path("messages/<uuid:message_id>/regenerate/", replies.RegenerateView.as_view()),
    path("messages/<uuid:message_id>/continue/", replies.ContinueView.as_view()),
]
