from django.db import migrations, models


class Migration(migrations.Migration):
    """The dashboard's permission."""

    dependencies = [("monitoring", "0002_actions")]

    operations = [
        migrations.CreateModel(
            name="Dashboard",
            fields=[("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))],
            options={
                "default_permissions": ("view",),
                "managed": False,
                "verbose_name": "dashboard",
                "verbose_name_plural": "dashboard",
            },
        ),
    ]
