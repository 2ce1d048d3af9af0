#!/bin/sh
# Runs once, when the volume is empty: payonce and Temporal get a role each, and neither sees the other's data.
# payonce migrates, and makes the roles that its processes are (CREATEROLE).
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 \
    --set payonce_password="$PAYONCE_POSTGRES_PASSWORD" --set temporal_password="$TEMPORAL_POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE payonce LOGIN CREATEROLE PASSWORD :'payonce_password';
CREATE DATABASE payonce OWNER payonce;
REVOKE CONNECT ON DATABASE payonce FROM PUBLIC;
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'temporal_password';
SQL
