from django.db import migrations


class Migration(migrations.Migration):
    """Permissions to act on live clients."""

    dependencies = [("monitoring", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="liveclient",
            options={
                "default_permissions": ("view",),
                "managed": False,
                "permissions": [
                    ("notify_liveclient", "Can send notices to live clients"),
                    ("unsubscribe_liveclient", "Can unsubscribe live clients"),
                    ("disconnect_liveclient", "Can disconnect live clients"),
                ],
                "verbose_name": "live client",
            },
        ),
    ]
