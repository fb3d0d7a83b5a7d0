from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("deployed", "0004_signs")]

    operations = [
        migrations.RenameField("Machine", "weight", "mass"),
        migrations.RenameField("HistoricalMachine", "weight", "mass"),
    ]
