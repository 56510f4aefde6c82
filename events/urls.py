"""The publish API. Every path works with and without a slash at its end; the documented form is the first."""

from django.urls import path

from events.api import PublishView

app_name = "events"

urlpatterns = [
    path("api/events", PublishView.as_view(), name="publish"),
    path("api/events/", PublishView.as_view(schema=None)),
]
