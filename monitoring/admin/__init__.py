"""The pages under *Monitoring* in Django's admin. Each module registers one."""

from django.contrib import admin

from events.access.login import LoginForm
from monitoring.admin import dashboard, dead_letters, emergency, executions, live_clients, topics

__all__ = ["dashboard", "dead_letters", "emergency", "executions", "live_clients", "topics"]

admin.site.site_header = "Workflow WebSocket Server"
admin.site.site_title = "Workflow WebSocket Server"
admin.site.login_form = LoginForm
