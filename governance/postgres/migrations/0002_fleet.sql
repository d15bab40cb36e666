-- +goose Up

-- What instances said of themselves, for all control planes that share the
-- database. left_at is null while one lives.
CREATE TABLE governance.instance (
	app_namespace text        NOT NULL,
	app_name      text        NOT NULL,
	id            text        NOT NULL,
	name          text        NOT NULL DEFAULT '',
	sdk           text        NOT NULL DEFAULT '',
	calls         text[]      NOT NULL DEFAULT '{}',
	joined        timestamptz NOT NULL,
	seen          timestamptz NOT NULL,
	left_at       timestamptz,
	applied       json,
	applied_at    timestamptz,
	PRIMARY KEY (app_namespace, app_name, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05); -- each row is renewed every few seconds
CREATE INDEX instance_live ON governance.instance (app_namespace, app_name) WHERE left_at IS NULL;

-- The versions that all who have to enforce them do enforce: told once.
CREATE TABLE governance.confirmation (
	version   bigint      PRIMARY KEY REFERENCES governance.policy_version (version),
	time      timestamptz NOT NULL,
	instances integer     NOT NULL CHECK (instances > 0)
);

-- +goose Down
DROP TABLE governance.confirmation;
DROP TABLE governance.instance;
