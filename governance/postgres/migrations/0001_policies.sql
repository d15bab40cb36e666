-- +goose Up

-- One row: the version of the whole. Each writer takes the next number from it in
-- its own transaction and holds the row until it commits, so that the order of
-- versions is the order of commits and a reader who has seen version n has
-- everything up to n.
CREATE TABLE governance.counter (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	version bigint  NOT NULL CHECK (version >= 0)
);
INSERT INTO governance.counter VALUES (true, 0);

CREATE TABLE governance.policy_version (
	version       bigint      PRIMARY KEY CHECK (version > 0),
	namespace     text        NOT NULL CHECK (namespace <> ''),
	name          text        NOT NULL CHECK (name <> ''),
	before        bigint      REFERENCES governance.policy_version (version) CHECK (before < version),
	kind          text        NOT NULL CHECK (kind IN ('policy', 'switch')),
	app_namespace text        NOT NULL,
	app_name      text        NOT NULL,
	expires       timestamptz,
	deleted       boolean     NOT NULL,
	created       timestamptz NOT NULL,
	actor         text        NOT NULL CHECK (actor <> ''),
	reason        text        NOT NULL CHECK (reason <> ''),
	-- json, not jsonb: the text is kept as it was hashed.
	document      json        NOT NULL
);
CREATE INDEX policy_version_of ON governance.policy_version (namespace, name, version DESC);

-- Versions are immutable.
-- +goose StatementBegin
CREATE FUNCTION governance.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'versions of policies are immutable: write a new one';
END $$;
-- +goose StatementEnd
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON governance.policy_version
	FOR EACH ROW EXECUTE FUNCTION governance.refuse_change();

-- The newest version of each.
CREATE TABLE governance.policy (
	namespace text   NOT NULL,
	name      text   NOT NULL,
	version   bigint NOT NULL UNIQUE REFERENCES governance.policy_version (version),
	PRIMARY KEY (namespace, name)
);

-- What happened, exactly. Partitions are made ahead and dropped when they are old.
CREATE TABLE governance.event (
	id            bigint      GENERATED ALWAYS AS IDENTITY,
	time          timestamptz NOT NULL,
	kind          text        NOT NULL,
	app_namespace text        NOT NULL,
	app_name      text        NOT NULL,
	instance      text        NOT NULL,
	command       text        NOT NULL,
	policy        text        NOT NULL,
	version       bigint      NOT NULL,
	actor         text        NOT NULL,
	reason        text        NOT NULL,
	transition    json
) PARTITION BY RANGE (time);
CREATE INDEX event_time ON governance.event (time DESC, id DESC);
CREATE INDEX event_app ON governance.event (app_namespace, app_name, time DESC, id DESC);

-- +goose Down
DROP TABLE governance.event;
DROP TABLE governance.policy;
DROP TABLE governance.policy_version;
DROP FUNCTION governance.refuse_change();
DROP TABLE governance.counter;
