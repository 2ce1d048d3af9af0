"""Workflows reach no library that does I/O, even indirectly."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"httpx", "sqlalchemy", "psycopg", "redis", "fastapi", "uvicorn", "alembic", "structlog"}
PROGRAM = "import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"


MODULES = (
    "workflows.payment",
    "workflows.refund",
    "workflows.review",
    "workflows.webhook_delivery",
    "workflows.webhook_job",
    "activities.options",
)


@pytest.mark.parametrize("module", MODULES)
async def test_importing_a_workflow_imports_no_library_that_does_io(module: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(module=module), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    loaded = {name.partition(".")[0] for name in json.loads(output)}
    assert not loaded & FORBIDDEN
