"""REST routes of the chat, under /api/."""

from django.urls import path

from chat.rest import joining, views

_ROOM = "conversations/<uuid:conversation_id>/"

urlpatterns = [
    path("assistants/", views.AssistantsView.as_view()),
    path("me/changes/", views.MyChangesView.as_view()),
    path("conversations/", views.ConversationsView.as_view()),
    path("conversations/<uuid:conversation_id>/", views.ConversationView.as_view()),
    path("rooms/", joining.RoomsView.as_view()),
    path(f"{_ROOM}join/", joining.JoinView.as_view()),
    path(f"{_ROOM}requests/", joining.RequestsView.as_view()),
    path(f"{_ROOM}requests/<uuid:request_id>/", joining.RequestView.as_view()),
    path(f"{_ROOM}invitations/", joining.InvitationsView.as_view()),
    path(f"{_ROOM}invitations/<uuid:invitation_id>/", joining.InvitationView.as_view()),
    path(f"{_ROOM}invitations/<uuid:invitation_id>/members/", joining.InvitedView.as_view()),
    path("invitations/<str:token>/", joining.TakeInvitationView.as_view()),
    path(f"{_ROOM}members/<uuid:member_id>/ban/", joining.BanView.as_view()),
    path(f"{_ROOM}bans/", joining.BansView.as_view()),
    path(f"{_ROOM}bans/<uuid:ban_id>/", joining.LiftedBanView.as_view()),
    path("direct/", views.DirectView.as_view()),
    path("conversations/<uuid:conversation_id>/archive/", views.ArchiveView.as_view()),
    path("conversations/<uuid:conversation_id>/unarchive/", views.UnarchiveView.as_view()),
    path("conversations/<uuid:conversation_id>/messages/", views.MessagesView.as_view()),
    path("conversations/<uuid:conversation_id>/changes/", views.ChangesView.as_view()),
    path("conversations/<uuid:conversation_id>/read/", views.ReadView.as_view()),
    path("conversations/<uuid:conversation_id>/mine/", views.MineView.as_view()),
    path("conversations/<uuid:conversation_id>/members/", views.MembersView.as_view()),
    path(
        "conversations/<uuid:conversation_id>/members/<uuid:member_id>/",
        views.MemberView.as_view(),
    ),
    path("messages/<uuid:message_id>/", views.MessageView.as_view()),
    path("messages/<uuid:message_id>/reactions/", views.ReactionsView.as_view()),
    path("messages/<uuid:message_id>/reactions/<str:emoji>/", views.ReactionView.as_view()),
    path("messages/<uuid:message_id>/stop/", views.StopView.as_view()),
    path("messages/<uuid:message_id>/regenerate/", views.RegenerateView.as_view()),
    path("messages/<uuid:message_id>/continue/", views.ContinueView.as_view()),
]
