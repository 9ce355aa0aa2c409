"""Hosted objects over HTTP and JSON: an ASGI app, and its OpenAPI 3.1 description.

For whoever has no client of liferaft. At most once does not hold here: HTTP has no sessions.
"""

from liferaft.http.gateway import Gateway

__all__ = ["Gateway"]
