"""Requests and replies over Redis publish/subscribe, in the protocol of the SAM image's annotation tools."""
