"""The pages under *Monitoring* in Django's admin. Each module registers one."""

from django.contrib import admin

from monitoring.admin import dashboard, live_clients

__all__ = ["dashboard", "live_clients"]

admin.site.site_header = "Workflow WebSocket Server"
admin.site.site_title = "Workflow WebSocket Server"
