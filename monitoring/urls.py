"""Health, metrics, status, and the API's documentation. Every path works with and without a slash at its end."""

from django.urls import path

from monitoring.documentation import DocsView, SchemaView
from monitoring.views import HealthView, MetricsView, ReadyView, StatusView

app_name = "monitoring"

urlpatterns = [
    path("health", HealthView.as_view(), name="health"),
    path("health/", HealthView.as_view(schema=None)),
    path("health/ready", ReadyView.as_view(), name="ready"),
    path("health/ready/", ReadyView.as_view(schema=None)),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("metrics/", MetricsView.as_view(schema=None)),
    path("status", StatusView.as_view(), name="status"),
    path("status/", StatusView.as_view(schema=None)),
    path("api/schema", SchemaView.as_view(schema=None)),
    path("api/schema/", SchemaView.as_view(schema=None), name="schema"),
    path("api/docs", DocsView.as_view()),
    path("api/docs/", DocsView.as_view(), name="docs"),
]
