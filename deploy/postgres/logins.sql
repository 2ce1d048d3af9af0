-- Lets the product's roles log in. After `payonce db upgrade`, as whoever migrated, on that database:
--   psql "$OWNER_URL" --set ON_ERROR_STOP=1 --set api_password=… --set engine_password=… --set worker_password=… \
--     --file logins.sql
-- Safe to repeat; with other passwords, that is their rotation.
ALTER ROLE payonce_api LOGIN PASSWORD :'api_password';
ALTER ROLE payonce_engine LOGIN PASSWORD :'engine_password';
-- As which processes log in that send cards: the engine, which may also take a saved number in order to send it, and
-- rotate the vault's keys. The relay and the renderer log in as payonce_engine, and may do neither.
DO $$ BEGIN
    CREATE ROLE payonce_worker;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
ALTER ROLE payonce_worker LOGIN PASSWORD :'worker_password';
GRANT payonce_engine, payonce_sender, payonce_keys TO payonce_worker;
GRANT CONNECT ON DATABASE :"DBNAME" TO payonce_api, payonce_engine, payonce_worker;
-- With PAYONCE_DURABILITY=standby the engine looks for the standby; where you may not grant it, a superuser does.
DO $$ BEGIN
    GRANT pg_read_all_stats TO payonce_engine;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
