"""The service on Ray Serve: FastAPI inside the deployment, HAProxy in front. The only file here that imports ray.

Ray reads its switches from the environment as it is imported: `serving/__main__.py` sets them before it imports this.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.live.item_changes import ItemChanges
from features.workspace.location import checked_place, served
from recsys.config import Settings
from recsys.errors import ServeError
from recsys.settings_file import find_settings, load_settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.ingress.ray_proxy import EVERY_INTERFACE
from serving.ingress.request_id import RequestIdFilter
from serving.live.catalogue import LiveCatalogue
from serving.releases.active import ActiveRelease, ReleaseWatch, workspace_source
from serving.releases.arms import ArmReleases
from serving.releases.replay import PastReleases
from serving.telemetry.access_log import AccessLog
from serving.telemetry.tracing import start_tracing
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.hidden_reviews import HiddenWatch
from serving.watch.keys import KeyWatch
from serving.watch.mirror import MirrorWatch

APP_NAME: Final = "recsys"
DEPLOYMENT_NAME: Final = "storefront"
QUIET: Final = LoggingConfig(enable_access_log=False, log_level="WARNING")
MAX_ONGOING: Final = 10_000
"""Never reached: a request too many is refused by `serving.ingress.access`, at less cost than by Ray."""

SWITCH_S: Final = 0.0005
"""After so long a list that is being made lets the event loop look at what has arrived; Python's own 5 ms are several
lists."""

OBJECT_STORE_BYTES: Final = 80 * 2**20
"""Near the least that Ray takes: nothing goes through its object store here, and it claims 30 % of memory if let."""


class Storefront:
    """One replica: a live release, kept up to date, behind the HTTP contract."""

    def __init__(self, place: str, settings: Settings) -> None:
        # A replica is a process of its own. Not `sys.stderr`, which Serve has turned into its own log, of warnings.
        handler = logging.StreamHandler(sys.__stderr__)
        handler.addFilter(RequestIdFilter())
        form = "%(levelname)s %(name)s %(message)s%(request)s"
        logging.basicConfig(level=logging.INFO, format=form, handlers=[handler], force=True)
        sys.setswitchinterval(SWITCH_S)
        start_tracing(os.environ)
        self._settings = settings
        # Here and not where Ray is started: a replica on another machine has a copy of its own.
        workspace, mirror = served(place)
        self._mirror = MirrorWatch(mirror, settings.serve.release_poll_s) if mirror else None
        if self._mirror:
            self._mirror.start()
        self._lake = workspace.lake
        self._atlases = workspace.atlases
        is_public = settings.serve.host == EVERY_INTERFACE
        self._keys = KeyWatch(workspace.api_keys, settings.serve.release_poll_s, always_required=is_public)
        self._keys.poll()
        self._keys.start()
        self._hidden = HiddenWatch(workspace.hidden_reviews, settings.serve.release_poll_s)
        self._hidden.poll()
        self._hidden.start()
        source = workspace_source(workspace, self._hidden)
        self._watch = ReleaseWatch(source, settings.serve)
        self._watch.poll()
        self._watch.start()
        arms = settings.experiment_releases()
        self._arms = ArmReleases(arms, source, lambda: self._watch.live, settings.serve)
        self._arms.poll()
        self._arms.start()
        self._database = open_live_database(workspace, settings.serve.events_url)
        self._forgotten = ErasedUsersWatch(ErasureQueue(self._database), workspace, settings.serve.release_poll_s)
        self._forgotten.poll()
        self._forgotten.start()
        changes = ItemChanges(self._database)
        self._catalogue = LiveCatalogue(lambda: self._watch.live, changes, settings.serve.items_poll_s)
        self._catalogue.start()
        self._arm_catalogues = {
            release_id: LiveCatalogue(partial(self._arms.get, release_id), changes, settings.serve.items_poll_s)
            for release_id in arms
        }
        for catalogue in self._arm_catalogues.values():
            catalogue.start()
        self._past = PastReleases(source, self._loaded, settings.serve.text_cache)

    def _beside(self, release_id: str) -> ActiveRelease | None:
        return self._arm_catalogues[release_id].live

    def _loaded(self) -> list[ActiveRelease]:
        """With the day's changes of products, and as they were published."""
        catalogues = [self._catalogue, *self._arm_catalogues.values()]
        published = [self._watch.live, *map(self._arms.get, self._arm_catalogues)]
        found = [*(catalogue.live for catalogue in catalogues), *published]
        return list({id(live): live for live in found if live is not None}.values())

    def __serve_build_asgi_app__(self) -> FastAPI:
        access_log = AccessLog(Path(self._settings.serve.access_log)) if self._settings.serve.access_log else None
        return create_app(
            lambda: self._catalogue.live,
            self._settings,
            self._database,
            lambda: self._keys.keys,
            access_log,
            beside=self._beside,
            past=self._past.get,
            forgotten=self._forgotten,
            lake=self._lake,
            atlases=self._atlases,
            echo_request_id=False,  # Ray Serve's server does
        )


@contextmanager
def ray_cluster(address: str | None, temp_dir: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A connection to the cluster at `address`, or, with None, to one of this process's own that ends with it.

    environment: variables of every worker; on a cluster of others they are not inherited from this process.
    """
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # "local" and not None: None would join whatever cluster last started on this machine.
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(temp_dir),
        }
    else:
        options |= {"address": address, "runtime_env": {"env_vars": dict(environment)}}
    ray.init(**options)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        yield
    finally:
        if address is not None:
            serve.delete(APP_NAME)
        ray.shutdown()


def deploy(workspace: Workspace, settings: Settings) -> None:
    """Start the replicas and the proxy; returns when they answer. Needs `ray_cluster`."""
    http = HTTPOptions(host=settings.serve.host, port=settings.serve.port)
    serve.start(http_options=http, logging_config=QUIET)
    serve.run(_bound(workspace, settings), name=APP_NAME, route_prefix="/")


def application(_arguments: dict[str, str]) -> Application:
    """The service for a cluster that runs Ray Serve by itself (`import_path: serving.app:application`, deploy/).

    Workspace and settings come from the environment, RECSYS_WORKSPACE and RECSYS_CONFIG among it. The proxies of a
    cluster listen on every interface, so each call needs a key, whatever `serve.host` says; a release may be
    published later. Raises ServeError where no workspace is named, ConfigError where its name or a setting is wrong.
    """
    named, config = os.environ.get("RECSYS_WORKSPACE"), os.environ.get("RECSYS_CONFIG")
    if not named:
        raise ServeError("RECSYS_WORKSPACE: not set; name the workspace to serve in the environment of every Ray pod")
    workspace, _ = served(checked_place(named))
    settings = load_settings(find_settings(Path(config) if config else None, workspace.settings_file), os.environ)
    serves = settings.serve.model_copy(update={"host": EVERY_INTERFACE})
    return _bound(workspace, settings.model_copy(update={"serve": serves}))


def _bound(workspace: Workspace, settings: Settings) -> Application:
    deployed = serve.deployment(
        name=DEPLOYMENT_NAME,
        num_replicas=settings.serve.replicas,
        max_ongoing_requests=MAX_ONGOING,
        max_queued_requests=-1,
        logging_config=QUIET,
    )
    deployment = deployed(serve.ingress()(Storefront))
    return deployment.bind(workspace.shown, settings)
