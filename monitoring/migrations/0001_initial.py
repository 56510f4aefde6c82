"""The live clients' place in the admin: a content type and a permission, no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="LiveClient",
            fields=[("sid", models.CharField(max_length=64, primary_key=True, serialize=False))],
            options={"verbose_name": "live client", "managed": False, "default_permissions": ("view",)},
        ),
    ]
