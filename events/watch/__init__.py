"""`manage.py watch`: events and running executions in a terminal."""
