"""Read-only pages: what people were notified of, and how the deliveries went."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from notifications.models import Delivery, Notification


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # no generic at run time
    """Notifications are made by the application, never by hand."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """All of them: there is no form."""
        return [field.name for field in self.opts.fields if field.name not in (self.exclude or ())]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may."""
        return False


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """The inboxes."""

    list_display = ("create_date", "recipient", "category", "action", "is_read")
    list_filter = ("category", "is_read")
    list_select_related = ("recipient",)
    search_fields = ("recipient__username", "recipient__email")
    show_full_result_count = False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """The deliveries, without what they carry."""

    list_display = ("created_at", "channel", "provider", "status", "attempts", "error_code")
    list_filter = ("status", "channel")
    exclude = ("payload", "context")
    show_full_result_count = False
