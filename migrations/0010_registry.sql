-- What is true: every entry of the registry, with all its versions.
--
-- Versions are those of fact_head: whatever changes a fact takes the next one, so a version names one state of all
-- facts. Rows are never deleted and a document is never changed: an entry's end is written once, into version_until.

-- The log's migration makes the same table: the statement that commits a record reads it.
CREATE TABLE IF NOT EXISTS fact_head (
    id       integer PRIMARY KEY CHECK (id = 1),
    version  bigint  NOT NULL CHECK (version >= 0),
    lockable boolean NOT NULL DEFAULT false
);
INSERT INTO fact_head (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;

CREATE TABLE registry_version (
    version    bigint      PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text        NOT NULL,
    -- apply, put, suspend
    how        text        NOT NULL,
    -- SHA-256 over (sort, id, canonical document) of everything present afterwards
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32)
);

CREATE TABLE registry_entry (
    sort          text   NOT NULL,
    id            text   NOT NULL,
    version_from  bigint NOT NULL REFERENCES registry_version (version),
    -- the first version in which it is no longer so; null: it still is
    version_until bigint REFERENCES registry_version (version),
    -- apply: from a directory, which may change it again; put: a single change, which a directory does not undo
    how           text   NOT NULL,
    document      jsonb  NOT NULL,
    PRIMARY KEY (sort, id, version_from),
    CHECK (version_until > version_from)
);
CREATE UNIQUE INDEX registry_entry_present ON registry_entry (sort, id) WHERE version_until IS NULL;

-- Roles: whoever writes facts is not the gateway, and nobody deletes. Groups without a login, which belong to the whole
-- cluster, so another database may have made them already.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['haetae_gateway', 'haetae_reader', 'haetae_registrar'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another migration made it just now
        END;
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA public TO haetae_gateway, haetae_reader, haetae_registrar;
REVOKE ALL ON registry_version, registry_entry FROM PUBLIC;
GRANT SELECT ON registry_version, registry_entry, fact_head TO haetae_gateway, haetae_reader;
GRANT SELECT, INSERT ON registry_version, registry_entry TO haetae_registrar;
GRANT UPDATE (version_until) ON registry_entry TO haetae_registrar;
GRANT SELECT, UPDATE (version) ON fact_head TO haetae_registrar;
