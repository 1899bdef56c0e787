"""The admin: every table of the chat, and rooms with their members, changed through services."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from chat.models import (
    Assistant,
    Attendance,
    AuditEntry,
    Block,
    Conversation,
    Group,
    Invitation,
    JoinRequest,
    Member,
    Message,
    PersonStatus,
    Reaction,
    Recount,
    Report,
    Revision,
    Sanction,
    Tally,
    Topic,
)
from chat.services.conversations import create_conversation
from chat.services.reports import resolve_report_as_staff
from chat.services.staff import (
    add_member_as_staff,
    change_member_as_staff,
    delete_conversation_as_staff,
    remove_member_as_staff,
    retitle_as_staff,
)
from core.errors import ChatireError


@admin.register(Assistant)
class AssistantAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Assistants; a key is named by its environment variable and never stored."""

    list_display = ("name", "slug", "model", "is_active")
    list_filter = ("is_active",)
    search_fields = ("name", "slug")
    prepopulated_fields: ClassVar = {"slug": ["name"]}
    # Django 5.2 warns of the scheme it will assume from 6.0 on.
    formfield_overrides: ClassVar = {models.URLField: {"assume_scheme": "https"}}


@admin.register(Group)
class GroupAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Groups of people, who are named by one word."""

    list_display = ("name", "slug")
    search_fields = ("name", "slug")
    prepopulated_fields: ClassVar = {"slug": ["name"]}
    autocomplete_fields = ("people",)


class MemberInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who is in a conversation now."""

    model = Member
    extra = 0
    fields = ("user", "assistant", "role", "nickname", "joined_at")
    readonly_fields = ("joined_at",)
    autocomplete_fields = ("user", "assistant")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        """Leave out those who left."""
        return Member.objects.present()


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Rooms. Everything saved here takes a `seq` and is told to those who follow the room."""

    list_display = ("__str__", "kind", "creator", "active_at")
    list_filter = ("kind",)
    search_fields = ("title", "id")
    autocomplete_fields = ("creator",)
    inlines: ClassVar = [MemberInline]
    date_hierarchy = "active_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Leave out the empty rows of deleted ones."""
        return super().get_queryset(request).filter(deleted_at=None)

    def get_fields(self, request: HttpRequest, obj: Conversation | None = None) -> Any:
        """Ask for an owner at first; afterwards only the title changes here."""
        if obj is None:
            return ["kind", "title", "creator"]
        return ["kind", "title", "creator", "seq", "created_at", "active_at"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Conversation | None = None
    ) -> list[str]:
        """Everything but the title is fixed once it is open."""
        return [] if obj is None else ["kind", "creator", "seq", "created_at", "active_at"]

    def get_inlines(self, request: HttpRequest, obj: Conversation | None) -> list[Any]:
        """Members are added once the room is there: its owner is one, and its assistant."""
        return [] if obj is None else [MemberInline]

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """A room needs an owner."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.name == "creator":
            field.required = True
        return field

    def save_model(self, request: HttpRequest, obj: Conversation, form: Any, change: bool) -> None:
        """Open it for its owner, or give it another title."""
        if change:
            retitle_as_staff(conversation_id=obj.pk, title=obj.title, by=_who(request))
            return
        assert isinstance(obj.creator, User)
        made = create_conversation(user=obj.creator, kind=obj.kind, title=obj.title)
        obj.pk = made.pk
        obj.refresh_from_db()

    def save_formset(
        self,
        request: HttpRequest,
        form: Any,
        formset: Any,
        change: bool,
    ) -> None:
        """Add, change and remove members through the services."""
        formset.save(commit=False)
        by = _who(request)
        for member in formset.deleted_objects:
            remove_member_as_staff(member=member, by=by)
        for member, _changed in formset.changed_objects:
            change_member_as_staff(member=member, role=member.role, nickname=member.nickname, by=by)
        for member in formset.new_objects:
            add_member_as_staff(
                conversation_id=member.conversation_id,
                user=member.user,
                assistant=member.assistant,
                role=member.role,
                by=by,
            )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What was said in a room goes with it, though it cannot be deleted by itself here."""
        objects, counts, _permissions, protected = super().get_deleted_objects(objs, request)
        return objects, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        """Delete it, and tell its members."""
        delete_conversation_as_staff(conversation_id=obj.pk, by=_who(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        """Delete several, each as one."""
        conversations: Iterable[Conversation] = queryset
        for conversation in conversations:
            delete_conversation_as_staff(conversation_id=conversation.pk, by=_who(request))


def _who(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


class _ReadOnly:
    """What is looked at here and changed elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Message)
class MessageAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Messages, to look into."""

    list_display = ("id", "conversation", "role", "status", "error_code", "created_at")
    list_filter = ("role", "status")
    search_fields = ("id", "conversation__id")
    list_select_related = ("conversation",)
    show_full_result_count = False


@admin.register(Invitation)
class InvitationAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Links into rooms, past ones too; their text is shown to those who manage a room."""

    list_display = ("conversation", "label", "by", "role", "uses", "max_uses", "revoked_at")
    list_select_related = ("conversation", "by")
    search_fields = ("conversation__id", "by__username", "label")


@admin.register(JoinRequest)
class JoinRequestAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Who asked to be let in, and what came of it."""

    list_display = ("conversation", "user", "created_at", "accepted", "decided_by")
    list_select_related = ("conversation", "user", "decided_by")
    search_fields = ("conversation__id", "user__username")


@admin.register(Sanction)
class SanctionAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Bans, past ones too. Adding someone to a room lifts theirs."""

    list_display = ("conversation", "user", "kind", "by", "until", "lifted_at")
    list_select_related = ("conversation", "user", "by")
    search_fields = ("conversation__id", "user__username")


@admin.register(Member)
class MemberAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Memberships, past ones too."""

    list_display = ("conversation", "user", "assistant", "role", "joined_at", "left_at")
    list_filter = ("role",)
    list_select_related = ("conversation", "user", "assistant")
    search_fields = ("conversation__id", "user__username")
    show_full_result_count = False


@admin.register(Reaction)
class ReactionAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Reactions, to look into."""

    list_display = ("message", "user", "emoji", "given", "counted", "created_at")
    list_select_related = ("message", "user")
    search_fields = ("message__id", "user__username")
    show_full_result_count = False


@admin.register(Tally)
class TallyAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """What was counted under messages."""

    list_display = ("message", "conversation", "seq", "counted_at")
    list_select_related = ("message", "conversation")
    search_fields = ("message__id", "conversation__id")
    show_full_result_count = False


@admin.register(Revision)
class RevisionAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """What messages said before. To be deleted here where the law asks for it at once."""

    list_display = ("message", "n", "by", "at")
    list_select_related = ("message", "by")
    search_fields = ("message__id",)
    show_full_result_count = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As Django's permissions say."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(Report)
class ReportAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """What was reported; staff decide here about what no moderator does."""

    list_display = ("conversation", "reason", "reporter", "for_staff", "resolution", "created_at")
    list_filter = ("for_staff", "resolution", "reason")
    list_select_related = ("conversation", "reporter")
    search_fields = ("message__id", "conversation__id", "reporter__username")
    actions = ("dismiss", "delete_reported", "ban_author")

    @admin.action(description="Dismiss", permissions=["decide"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Leave the messages as they are."""
        self._resolve(request, queryset, "dismissed")

    @admin.action(description="Delete the messages", permissions=["decide"])
    def delete_reported(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Delete what was reported."""
        self._resolve(request, queryset, "deleted")

    @admin.action(description="Delete the messages and ban who wrote them", permissions=["decide"])
    def ban_author(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Delete what was reported, and ban its author from the room."""
        self._resolve(request, queryset, "banned")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """As Django's permission to change reports says."""
        return admin.ModelAdmin.has_change_permission(self, request)

    def _resolve(self, request: HttpRequest, reports: QuerySet[Report], resolution: str) -> None:
        for report in reports:
            try:
                resolve_report_as_staff(
                    user=_who(request), report_id=report.pk, resolution=resolution
                )
            except ChatireError as error:
                self.message_user(request, f"{report}: {error.message}", messages.WARNING)


@admin.register(Block)
class BlockAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Who wants nothing from whom."""

    list_display = ("user", "blocked", "on", "created_at")
    list_select_related = ("user", "blocked")
    search_fields = ("user__username", "blocked__username")


@admin.register(AuditEntry)
class AuditEntryAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Who did what, in all rooms. The database lets nobody change or delete it."""

    list_display = ("created_at", "actor", "action", "person", "conversation", "as_staff", "reason")
    list_filter = ("action", "as_staff")
    list_select_related = ("actor", "person", "conversation")
    search_fields = ("conversation__id", "actor__username", "person__username")
    date_hierarchy = "created_at"
    show_full_result_count = False


@admin.register(PersonStatus)
class PersonStatusAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """What people say of themselves, to look into."""

    list_display = ("user", "emoji", "text", "until")
    list_select_related = ("user",)
    search_fields = ("user__username", "text")


@admin.register(Attendance)
class AttendanceAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Who each socket process has, as it wrote down last."""

    list_display = ("process", "beat_at", "active_people", "idle_people")

    @admin.display(description="active")
    def active_people(self, attendance: Attendance) -> int:
        """How many use a client."""
        return len(attendance.active)

    @admin.display(description="idle")
    def idle_people(self, attendance: Attendance) -> int:
        """How many have one open."""
        return len(attendance.idle)


@admin.register(Recount)
class RecountAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Messages whose threads have moved and are about to be counted."""

    list_display = ("message", "conversation")
    list_select_related = ("message", "conversation")
    show_full_result_count = False


@admin.register(Topic)
class TopicAdmin(_ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Topics of forums, deleted ones too; their conversations are among the conversations."""

    list_display = ("title", "forum", "author", "votes", "replies", "views", "solved", "closed")
    list_filter = ("solved", "closed", "pinned", "deleted")
    list_select_related = ("forum", "author")
    search_fields = ("title", "forum__id", "author__username")
    show_full_result_count = False
