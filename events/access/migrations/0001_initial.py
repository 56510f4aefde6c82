"""Access tokens, by their hash, and signed tokens that were revoked."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AccessToken",
            fields=[
                ("id", models.CharField(editable=False, max_length=16, primary_key=True, serialize=False, verbose_name="id")),
                ("name", models.CharField(help_text="What or whom it is for. Shown in lists and logs.", max_length=100)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("scopes", models.TextField(max_length=20000)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="In UTC. Empty: never.", null=True, verbose_name="expires"),
                ),
                ("last_used_at", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("revoked_at", models.DateTimeField(editable=False, null=True, verbose_name="revoked")),
            ],
            options={
                "ordering": ("-created_at",),
                "permissions": (("publish", "Can publish events"), ("operate", "Can change the emergency state")),
            },
        ),
        migrations.CreateModel(
            name="RevokedLogin",
            fields=[
                ("token_id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("revoked_at", models.DateTimeField(auto_now_add=True, verbose_name="revoked")),
            ],
            options={
                "verbose_name": "revoked login",
            },
        ),
    ]
