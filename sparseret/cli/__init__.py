"""The command line: ``app.py`` puts it together, one file a subcommand."""
