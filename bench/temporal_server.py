"""A Temporal server as production has it, on a PostgreSQL of its own: built from Go modules, started for a bench."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bench.surroundings import Server, directory, plain_environ, service_of
from devstack import parts
from devstack.errors import StackError
from devstack.parts import NAMESPACE, SERVER_SETTINGS, TEMPORAL_GOGC, Part
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import SUPERUSER, create_database, place_cluster, server_url
from devstack.processes import Command, run

POSTGRES, DEVELOPMENT = "postgres", "development"
PROGRAMS: Final = Path(sys.prefix) / "temporal-server"  # `make bench` builds it there, once
SHARDS: Final = 512  # as docker-compose.yml has it
CONNECTIONS, VISIBILITY_CONNECTIONS = 50, 10
RETENTION: Final = timedelta(days=3)
SCHEMA_WITHIN_S = 120.0
PORT_MAX: Final = 1 << 15  # Temporal keeps its services' ports as `smallint`
SERVICES: Final = ("frontend", "matching", "history", "worker")
DATABASES: Final = {"temporal": "temporal", "temporal_visibility": "visibility"}  # with their schemas
POSTGRES_SETTINGS: Final = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
_UNLIMITED: Final = 100_000
LIMITS: Final = (
    *("frontend.rps", "frontend.namespaceRPS", "history.rps", "matching.rps"),
    *("frontend.persistenceMaxQPS", "history.persistenceMaxQPS", "matching.persistenceMaxQPS"),
)


@asynccontextmanager
async def chosen_server(name: str) -> AsyncIterator[Server | None]:
    """The server on Postgres, or None: each stack has a development server then."""
    if name == DEVELOPMENT:
        yield None
        return
    async with running_server() as server:
        yield server


@asynccontextmanager
async def running_server(programs: Path = PROGRAMS) -> AsyncIterator[Server]:
    """The server answers, with our search attributes. Raises `StackError` where nobody has built it."""
    if not (programs / "server").exists() or not (programs / "sql").exists():
        raise StackError(f"no Temporal server in {programs}: `make bench` builds it, with Go")
    async with AsyncExitStack() as exits:
        path, ports = exits.enter_context(directory()), Ports()
        exits.callback(ports.close)
        postgres_port = ports.free()
        cluster = place_cluster(path, plain_environ(), lambda _: None)
        await cluster.initialise(path / "initdb.log", durable=True)
        postgres = service_of(
            cluster.part(port=postgres_port, durable=True, name="temporal-postgres", **POSTGRES_SETTINGS),
            path,
        )
        exits.push_async_callback(postgres.end)
        await postgres.start()
        await _create_schemas(programs / "sql", path, postgres_port)
        at = {name: (ports.free_below(PORT_MAX), ports.free_below(PORT_MAX)) for name in SERVICES}
        temporal = service_of(_part(programs / "server", path, postgres_port, at), path)
        exits.push_async_callback(temporal.end)
        await temporal.start()
        assert temporal.pid is not None
        assert postgres.pid is not None
        yield Server(
            address=f"{LOOPBACK}:{at['frontend'][0]}",
            pids={"temporal": temporal.pid, "temporal-postgres": postgres.pid},
            database_url=server_url(postgres_port, "temporal"),
        )


def configuration(postgres_port: int, at: Mapping[str, tuple[int, int]], dynamic: Path) -> dict[str, Any]:
    """The server's settings: all services in one process, each with its ports for gRPC and membership."""
    store = {
        "pluginName": "postgres12_pgx",
        "connectAddr": f"{LOOPBACK}:{postgres_port}",
        "connectProtocol": "tcp",
        "user": SUPERUSER,
        "maxConnLifetime": "1h",
    }
    frontend = f"{LOOPBACK}:{at['frontend'][0]}"
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": SHARDS,
            "datastores": {
                "default": {"sql": {**store, "databaseName": "temporal", **_at_most(CONNECTIONS)}},
                "visibility": {
                    "sql": {
                        **store,
                        "databaseName": "temporal_visibility",
                        **_at_most(VISIBILITY_CONNECTIONS),
                    }
                },
            },
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}},
        "services": {
            name: {"rpc": {"grpcPort": grpc, "membershipPort": membership, "bindOnLocalHost": True}}
            for name, (grpc, membership) in at.items()
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": frontend,
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(dynamic), "pollInterval": "10s"},
    }


def dynamic_settings() -> dict[str, Any]:
    """Production's own, without the limits on requests."""
    production = yaml.safe_load(SERVER_SETTINGS.read_text())
    return {**production, **{name: [{"value": _UNLIMITED}] for name in LIMITS}}


def _at_most(connections: int) -> dict[str, int]:
    return {"maxConns": connections, "maxIdleConns": connections}


def _part(program: Path, path: Path, postgres_port: int, at: Mapping[str, tuple[int, int]]) -> Part:
    config, dynamic = path / "server.yaml", path / "dynamic.yaml"
    dynamic.write_text(yaml.safe_dump(dynamic_settings()))
    config.write_text(json.dumps(configuration(postgres_port, at, dynamic)))  # JSON is YAML
    address = f"{LOOPBACK}:{at['frontend'][0]}"
    return Part(
        name="temporal",
        command=Command(
            (str(program), "--config-file", str(config), "--allow-no-auth", "start"),
            {"GOGC": TEMPORAL_GOGC, **plain_environ()},
            path,
        ),
        is_ready=lambda: _serves_namespace(address),
        ports=tuple(grpc for grpc, _ in at.values()),
        end_within_s=30.0,
    )


async def _serves_namespace(address: str) -> bool:
    """Our namespace is there, with every search attribute of ours."""
    if not await parts.listens(int(address.rpartition(":")[2])):
        return False
    request = RegisterNamespaceRequest(namespace=NAMESPACE)
    request.workflow_execution_retention_period.FromTimedelta(RETENTION)
    try:
        client = await Client.connect(address)
        await client.workflow_service.register_namespace(request, timeout=timedelta(seconds=5))
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            return False
    except RuntimeError:
        return False
    return await parts.knows_search_attributes(address)


async def _create_schemas(program: Path, path: Path, port: int) -> None:
    """Both databases have Temporal's tables."""
    server = (
        *("--plugin", "postgres12_pgx", "--endpoint", LOOPBACK),
        *("--port", str(port), "--user", SUPERUSER),
    )
    for database, schema in DATABASES.items():
        await create_database(port, database)
        for step in (
            ("setup-schema", "--version", "0.0"),
            ("update-schema", "--schema-name", f"postgresql/v12/{schema}"),
        ):
            command = Command((str(program), *server, "--database", database, *step), dict(os.environ), path)
            await run(f"temporal's {step[0]}", command, path / "schemas.log", within_s=SCHEMA_WITHIN_S)
