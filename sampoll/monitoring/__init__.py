"""Monitoring of a service: health, metrics, a status page, and notifications to systemd."""
