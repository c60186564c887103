"""Who may administer: whoever knows `serving.admin_key`; where it is not set, whoever asks from this machine."""

from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from recsys.serving.problems import documented
from recsys.serving.slates import services_of

KEY = HTTPBearer(
    scheme_name="admin_key", description="`serving.admin_key` of the settings.", auto_error=False
)

PASSED_ON = (
    "forwarded",
    "via",
    "x-real-ip",
    *(f"x-forwarded-{what}" for what in ("for", "host", "port", "proto", "server")),
)
"""Headers of a request that came through a proxy: whoever sent it may be anywhere."""

ADMINS_ONLY = documented(401, "`serving.admin_key` was not sent, or another key") | documented(
    403, "`serving.admin_key` is not set, and the request comes from another machine"
)


async def admitted(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(KEY)]
) -> None:
    """Let administrators pass. Raises HTTPException for all others."""
    if not key_of(request):
        if not from_this_machine(request):
            raise HTTPException(
                403,
                "serving.admin_key is not set, so only the server's own machine may ask this: set it, "
                "and send it as `Authorization: Bearer KEY`",
            )
        return
    if given is None or not knows(request, given.credentials.encode("latin-1")):
        found = "none" if given is None else "another key"
        raise HTTPException(
            401,
            f"expected serving.admin_key, as `Authorization: Bearer KEY` (found {found})",
            {"WWW-Authenticate": "Bearer"},
        )


def key_of(request: Request) -> str:
    """`serving.admin_key`; empty: it is not set."""
    return services_of(request).settings.serving.admin_key.get_secret_value()


def knows(request: Request, sent: bytes) -> bool:
    """Whether this is the key. Takes as long for each wrong one."""
    return compare_digest(sent, key_of(request).encode())


def from_this_machine(request: Request) -> bool:
    """Whether a request comes from this machine and names it: a page of another site can have its own name mean us."""
    named = request.url.hostname or ""
    if request.client is None or any(name in request.headers for name in PASSED_ON):
        return False
    return _is_loopback(request.client.host) and (named == "localhost" or _is_loopback(named))


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
