"""What everything else stands on: settings, errors, the Spark session, time, logs, secrets and table declarations."""
