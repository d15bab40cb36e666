-- +goose Up

-- Which reports of a process were taken, so that a repeated one counts once: the
-- highest number, and a bit for each of the 64 up to it.
CREATE TABLE governance.reporter (
	instance text        NOT NULL,
	boot     text        NOT NULL,
	high     bigint      NOT NULL,
	mask     bigint      NOT NULL,
	seen     timestamptz NOT NULL,
	PRIMARY KEY (instance, boot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05); -- updated in place, about once a second each
CREATE INDEX reporter_seen ON governance.reporter USING brin (seen);

-- Reports as they came: durable before they are answered, and gone as soon as
-- they are folded, in the transaction that folds them.
CREATE TABLE governance.staging (
	id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	app_namespace text        NOT NULL,
	app_name      text        NOT NULL,
	instance      text        NOT NULL,
	first         bigint      NOT NULL, -- Unix seconds of the oldest and the newest sample
	last          bigint      NOT NULL,
	samples       bytea       NOT NULL  -- deflated JSON: read once or twice, and then gone
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE governance.staging ALTER COLUMN samples SET STORAGE EXTERNAL; -- compressed already
CREATE INDEX staging_app ON governance.staging (app_namespace, app_name, last);
CREATE INDEX staging_last ON governance.staging (last);

-- The names of series, once each.
CREATE TABLE governance.series (
	id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	app_namespace  text    NOT NULL,
	app_name       text    NOT NULL,
	command        text    NOT NULL,
	at             text    NOT NULL CHECK (at IN ('provider', 'caller')),
	peer_namespace text    NOT NULL,
	peer_name      text    NOT NULL,
	UNIQUE (app_namespace, app_name, command, at, peer_namespace, peer_name)
);

-- The seconds of one series of one instance in one minute (internal/series).
CREATE TABLE governance.chunk (
	series   integer     NOT NULL,
	minute   timestamptz NOT NULL,
	instance text        NOT NULL,
	data     bytea       NOT NULL,
	PRIMARY KEY (series, minute, instance)
) PARTITION BY RANGE (minute);

-- All instances of an application, by 10 s and by the minute (internal/series).
CREATE TABLE governance.rollup10 (
	series integer     NOT NULL,
	start  timestamptz NOT NULL,
	data   bytea       NOT NULL,
	PRIMARY KEY (series, start)
) PARTITION BY RANGE (start);
CREATE TABLE governance.rollup60 (
	series integer     NOT NULL,
	start  timestamptz NOT NULL,
	data   bytea       NOT NULL,
	PRIMARY KEY (series, start)
) PARTITION BY RANGE (start);

-- +goose Down
DROP TABLE governance.rollup60;
DROP TABLE governance.rollup10;
DROP TABLE governance.chunk;
DROP TABLE governance.series;
DROP TABLE governance.staging;
DROP TABLE governance.reporter;
