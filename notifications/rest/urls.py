"""Routes."""

from django.urls import path

from notifications.rest import views

urlpatterns = [
    path("notifications/", views.NotificationListView.as_view(), name="notification-list"),
    path("notifications/unread/", views.UnreadView.as_view(), name="notification-unread"),
    path("notifications/read/", views.MarkReadView.as_view(), name="notifications-read"),
    path(
        "notifications/<uuid:notification_id>/read/",
        views.MarkOneReadView.as_view(),
        name="notification-read",
    ),
]
