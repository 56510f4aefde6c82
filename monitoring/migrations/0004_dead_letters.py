from django.db import migrations, models


class Migration(migrations.Migration):
    """Permissions for dead letters."""

    dependencies = [("monitoring", "0003_dashboard")]

    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[("letter_id", models.CharField(max_length=64, primary_key=True, serialize=False))],
            options={
                "default_permissions": ("view",),
                "managed": False,
                "permissions": [
                    ("republish_deadletter", "Can publish dead letters again"),
                    ("discard_deadletter", "Can discard dead letters"),
                ],
                "verbose_name": "dead letter",
            },
        ),
    ]
