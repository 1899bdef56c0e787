"""The inbox as JSON."""

from typing import Any

from rest_framework import serializers

from notifications.models import Notification
from notifications.states import notification_state

# How many notifications may be marked read by their ids in one request.
MAX_IDS = 100


class NotificationObjectSerializer(serializers.Serializer[Any]):
    """What a notification is about."""

    type = serializers.CharField(help_text="The kind of thing, such as `message`.")
    id = serializers.CharField()


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """One entry of the inbox; the same state goes over the socket."""

    object = NotificationObjectSerializer(allow_null=True)
    url = serializers.CharField(help_text="Absolute, or a path on this site; may be empty.")
    extra_data = serializers.DictField()
    created_at = serializers.DateTimeField()

    class Meta:
        model = Notification
        fields = [
            "id",
            "category",
            "action",
            "source",
            "source_display_name",
            "short_description",
            "url",
            "object",
            "extra_data",
            "is_read",
            "created_at",
        ]
        read_only_fields = fields

    def to_representation(self, instance: Notification) -> dict[str, Any]:
        """Return the one representation that REST and the socket share."""
        return notification_state(instance).model_dump(mode="json")


class ListQuerySerializer(serializers.Serializer[Any]):
    """Which notifications to list."""

    unread = serializers.BooleanField(default=False, help_text="Only those not read yet.")


class MarkReadSerializer(serializers.Serializer[Any]):
    """Which notifications to mark read: some by their ids, or all."""

    ids = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MAX_IDS, required=False
    )
    all = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse anything but exactly one of the two."""
        if ("ids" in attrs) == bool(attrs.get("all")):
            raise serializers.ValidationError("Give either ids or all: true.")
        return attrs


class UnreadSerializer(serializers.Serializer[Any]):
    """How many notifications are unread."""

    unread = serializers.IntegerField(min_value=0)


class MarkedReadSerializer(UnreadSerializer):
    """What marking did."""

    read = serializers.IntegerField(min_value=0, help_text="How many were unread until now.")
