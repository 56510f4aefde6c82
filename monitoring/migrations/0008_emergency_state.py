from django.db import migrations, models


class Migration(migrations.Migration):
    """Permissions for the emergency state."""

    dependencies = [("monitoring", "0007_revoke_token")]

    operations = [
        migrations.CreateModel(
            name="EmergencyState",
            fields=[("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))],
            options={
                "default_permissions": ("view",),
                "managed": False,
                "permissions": [("set_emergencystate", "Can set the emergency state")],
                "verbose_name": "emergency state",
                "verbose_name_plural": "emergency state",
            },
        ),
    ]
