#!/bin/sh
# Creates Temporal's databases or upgrades their schemas. Safe to repeat: each step skips what is there.
# SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD and SQL_PLUGIN come from the environment.
# Never add update-schema --dry-run: it drops every table (tools/common/schema/updatetask.go).
set -eu
prepare() {
    export SQL_DATABASE="$1"
    temporal-sql-tool create-database
    temporal-sql-tool setup-schema --version 0.0
    temporal-sql-tool update-schema --schema-name "postgresql/v12/$2"
}
prepare temporal temporal
prepare temporal_visibility visibility
