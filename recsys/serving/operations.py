"""The routes that machines watch: is it alive, is it ready, what does it count."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from recsys.serving.problems import NO_SNAPSHOT
from recsys.serving.schemas import Alive, Ready
from recsys.serving.slates import Services, as_json, services

router = APIRouter(tags=["Operations"])

Within = Annotated[Services, Depends(services)]


@router.get("/health/live", response_model=Alive)
async def alive() -> Response:
    """The process answers. If it does not, restart it."""
    return as_json({"status": "alive"})


@router.get("/health/ready", response_model=Ready, responses=NO_SNAPSHOT)
async def ready(within: Within) -> Response:
    """Slates can be had: a snapshot is loaded, and the database answers. If not, send no requests here."""
    manifest = within.live.ready().manifest
    return as_json({"status": "ready", "snapshot": manifest.id, "built_at": manifest.built_at})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(within: Within) -> Response:
    """What has been counted, for Prometheus."""
    return Response(within.metrics.text(), media_type=CONTENT_TYPE_LATEST)
