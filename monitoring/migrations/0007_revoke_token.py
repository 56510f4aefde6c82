from django.db import migrations


class Migration(migrations.Migration):
    """The permission to revoke the token of a live client."""

    dependencies = [("monitoring", "0006_topics")]

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
                    ("revoke_liveclient_token", "Can revoke the tokens of live clients"),
                ],
                "verbose_name": "live client",
            },
        ),
    ]
