"""Publishing, the states of executions, and the emergency state.

Every path works with and without a slash at its end; one form is documented.
"""

from django.urls import path

from events.api import PublishView
from events.emergency_api import EmergencyView
from events.executions_api import ExecutionDetailView, ExecutionListView

app_name = "events"

urlpatterns = [
    path("api/events", PublishView.as_view(), name="publish"),
    path("api/events/", PublishView.as_view(schema=None)),
    path("api/executions", ExecutionListView.as_view(), name="executions"),
    path("api/executions/", ExecutionListView.as_view(schema=None)),
    path("api/emergency", EmergencyView.as_view(), name="emergency"),
    path("api/emergency/", EmergencyView.as_view(schema=None)),
    # Ids may hold slashes themselves, so the form with one at its end is tried first.
    path("api/executions/<path:execution_id>/", ExecutionDetailView.as_view(schema=None)),
    path("api/executions/<path:execution_id>", ExecutionDetailView.as_view(), name="execution"),
]
