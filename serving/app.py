"""The service on Ray Serve: FastAPI inside the deployment, HAProxy in front. The only file here that imports ray.

Ray reads its switches from the environment as it is imported: `serving/__main__.py` sets them before it imports this.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
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
from features.live.user_merges import UserMerges
from features.processes.run_folder import RunFolder
from features.workspace.location import checked_place, served
from recsys.config import Settings
from recsys.errors import ServeError
from recsys.settings_file import find_settings, load_settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.ingress.ray_proxy import EVERY_INTERFACE, PUBLIC
from serving.ingress.request_id import RequestIdFilter
from serving.live.catalogue import LiveCatalogue
from serving.releases.active import ActiveRelease, ReleaseWatch, workspace_source
from serving.releases.arms import ArmReleases
from serving.releases.replay import PastReleases
from serving.state import ServiceState
from serving.telemetry.access_log import AccessLog
from serving.telemetry.tracing import start_tracing
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.hidden_reviews import HiddenWatch
from serving.watch.keys import KeyWatch
from serving.watch.mirror import MirrorWatch
from serving.watch.user_ids import UserIdsWatch
from serving.watch.user_merges import UserMergesWatch

APP_NAME: Final = "recsys"
DEPLOYMENT_NAME: Final = "storefront"
QUIET: Final = LoggingConfig(enable_access_log=False, log_level="WARNING")
MAX_ONGOING: Final = 10_000
"""Never reached: `serving.ingress.access` refuses excess requests at less cost than Ray would."""

SWITCH_S: Final = 0.0005
"""A thread that makes a list lets the event loop run after so long; Python's default of 5 ms is the time of several
lists."""

OBJECT_STORE_BYTES: Final = 80 * 2**20
"""About the smallest that Ray accepts: the service does not use the object store, whose default is 30 % of memory."""


class Storefront:
    """One replica: it follows the published releases and serves the HTTP API."""

    def __init__(self, place: str, settings: Settings) -> None:
        # A replica is a process of its own. Not `sys.stderr`, which Ray Serve redirects to its own log of warnings.
        handler = logging.StreamHandler(sys.__stderr__)
        handler.addFilter(RequestIdFilter())
        form = "%(levelname)s %(name)s %(message)s%(request)s"
        logging.basicConfig(level=logging.INFO, format=form, handlers=[handler], force=True)
        sys.setswitchinterval(SWITCH_S)
        start_tracing(os.environ)
        self._settings = settings
        # Here and not where Ray is started: a replica on another machine has its own copy of the workspace.
        workspace, mirror = served(place)
        self._mirror = MirrorWatch(mirror, settings.serve.release_poll_s) if mirror else None
        if self._mirror:
            self._mirror.start()
        self._lake = workspace.lake
        self._atlases = workspace.atlases
        is_public = settings.serve.host in PUBLIC
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
        self._erased_users = ErasedUsersWatch(ErasureQueue(self._database), workspace, settings.serve.release_poll_s)
        self._erased_users.poll()
        self._erased_users.start()
        merges = UserMergesWatch(UserMerges(self._database), settings.serve.release_poll_s)
        merges.poll()
        merges.start()
        self._user_ids = UserIdsWatch(workspace, settings.serve.release_poll_s, merges)
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

    def _arm_release(self, release_id: str) -> ActiveRelease | None:
        return self._arm_catalogues[release_id].live

    def _loaded(self) -> list[ActiveRelease]:
        """Every loaded release, once with the item changes since it was published and once without."""
        catalogues = [self._catalogue, *self._arm_catalogues.values()]
        published = [self._watch.live, *map(self._arms.get, self._arm_catalogues)]
        loaded = [*(catalogue.live for catalogue in catalogues), *published]
        return list({id(active): active for active in loaded if active is not None}.values())

    def __serve_build_asgi_app__(self) -> FastAPI:
        access_log = AccessLog(Path(self._settings.serve.access_log)) if self._settings.serve.access_log else None
        state = ServiceState(
            active=lambda: self._catalogue.live,
            database=self._database,
            keys=lambda: self._keys.keys,
            access_log=access_log,
            arm_release=self._arm_release,
            past_releases=self._past.get,
            erased_users=self._erased_users,
            user_ids=self._user_ids,
            lake=self._lake,
            atlases=self._atlases,
            echo_request_id=False,  # Ray Serve's server adds it
        )
        return create_app(self._settings, state)


@contextmanager
def ray_cluster(address: str | None, run: RunFolder, environment: Mapping[str, str]) -> Iterator[None]:
    """A connection to the cluster at `address`; with None, to a new cluster that ends with this process.

    run: holds the files of a new cluster. environment: variables for every worker; workers of a running cluster do not
    inherit them from this process.
    """
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        # "local" and not None: None would join the cluster that started last on this machine.
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(run.ray),
        }
    else:
        options |= {"address": address, "runtime_env": {"env_vars": dict(environment)}}
    # What another cluster runs is not of this run: it goes on when this process is killed.
    with run.marked() if address is None else nullcontext():
        ray.init(**options)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        yield
    finally:
        if address is not None:
            serve.delete(APP_NAME)
        ray.shutdown()


def deploy(workspace: Workspace, settings: Settings) -> None:
    """Start the replicas and the proxy; returns when they are ready. Call it within `ray_cluster`."""
    # Ray has HAProxy listen on IPv4 alone for "::", but not for the same address written otherwise.
    host = "0::0" if settings.serve.host == "::" else settings.serve.host
    http = HTTPOptions(host=host, port=settings.serve.port)
    serve.start(http_options=http, logging_config=QUIET)
    serve.run(_bound(workspace, settings), name=APP_NAME, route_prefix="/")


def application(_arguments: dict[str, str]) -> Application:
    """The service for a cluster that runs Ray Serve itself (`import_path: serving.app:application`, deploy/).

    Workspace and settings come from the environment (RECSYS_WORKSPACE, RECSYS_CONFIG and others). The proxies of a
    cluster listen on every interface, so each call needs a key, whatever `serve.host` says. The first release may be
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
