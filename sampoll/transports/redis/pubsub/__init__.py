"""Requests and replies over Redis publish/subscribe, as the annotation tools of the SAM image speak it."""
