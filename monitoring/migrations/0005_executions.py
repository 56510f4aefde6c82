from django.db import migrations, models


class Migration(migrations.Migration):
    """The permission to see executions."""

    dependencies = [("monitoring", "0004_dead_letters")]

    operations = [
        migrations.CreateModel(
            name="Execution",
            fields=[("execution_id", models.CharField(max_length=4096, primary_key=True, serialize=False))],
            options={"default_permissions": ("view",), "managed": False, "verbose_name": "execution"},
        ),
    ]
