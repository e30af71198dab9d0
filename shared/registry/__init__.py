"""MLflow: runs, registered models and their aliases. Nothing here talks to a server unless the config names one."""
