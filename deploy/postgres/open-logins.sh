#!/bin/sh
# Lets payonce_api, payonce_engine and payonce_worker log in with the passwords of the environment. After each
# migration; safe to repeat.
set -eu
psql --set ON_ERROR_STOP=1 --set api_password="$API_PASSWORD" --set engine_password="$ENGINE_PASSWORD" \
    --set worker_password="$WORKER_PASSWORD" --file "$(dirname "$0")/logins.sql"
