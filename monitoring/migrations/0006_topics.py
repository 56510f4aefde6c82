from django.db import migrations, models


class Migration(migrations.Migration):
    """The permission to see topics."""

    dependencies = [("monitoring", "0005_executions")]

    operations = [
        migrations.CreateModel(
            name="Topic",
            fields=[("name", models.CharField(max_length=4096, primary_key=True, serialize=False))],
            options={"default_permissions": ("view",), "managed": False, "verbose_name": "topic"},
        ),
    ]
