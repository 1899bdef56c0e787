"""People and their sessions in Django's admin. It writes through the services too."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import services
from accounts.models import Session, User

# Django's own classes are generic only to the type checker.
if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
    _SessionAdmin = admin.ModelAdmin[Session]
    _PasswordForm = AdminPasswordChangeForm[User]
else:
    _UserAdmin, _SessionAdmin, _PasswordForm = UserAdmin, admin.ModelAdmin, AdminPasswordChangeForm


class PasswordForm(_PasswordForm):
    """Another password, set by an administrator, signs the person out everywhere."""

    def save(self, commit: bool = True) -> User:
        """Save and revoke."""
        with transaction.atomic():
            user = super().save(commit)
            services.revoke_all(user=user)
        return user


@admin.register(User)
class PersonAdmin(_UserAdmin):
    """People are deactivated, not deleted: their messages stay."""

    change_password_form = PasswordForm
    list_display = ("username", "email", "display_name", "is_guest", "is_active", "last_login")
    list_filter = ("is_guest", "is_active", "is_staff", "is_superuser")
    search_fields = ("username", "email", "display_name")
    ordering = ("-date_joined",)
    readonly_fields = ("id", "is_guest", "merged_into", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("id", "username", "password")}),
        ("Person", {"fields": ("display_name", "email", "is_guest", "merged_into")}),
        (
            "Permissions",
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "password1", "password2")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save; whoever was deactivated is signed out everywhere."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if change and not obj.is_active:
                services.deactivate_user(user=obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody deletes people."""
        return False


@admin.register(Session)
class SessionAdmin(_SessionAdmin):
    """Sign-ins; they can be ended, not edited."""

    list_display = ("user", "user_agent", "created_at", "expires_at", "revoked_at")
    list_filter = ("revoked_at",)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email")
    ordering = ("-created_at",)
    actions = ["revoke"]

    @admin.action(description="Revoke the selected sessions", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """End sessions, their open sockets included."""
        for session in queryset:
            services.revoke_session(session_id=session.id, user_id=session.user_id)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Everything."""
        return ("id", "user", "user_agent", "created_at", "expires_at", "revoked_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Sessions come from signing in."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """A deleted session could not be told apart from a forged one; revoke it."""
        return False
