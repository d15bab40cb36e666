-- +goose Up

-- One row: the revision of the whole table. Each writer takes the next one in its
-- own transaction and holds the row until it commits, so that the order of
-- revisions is the order of commits, and a reader who has revision n has
-- everything up to n.
CREATE TABLE gateway.state (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	revision bigint  NOT NULL CHECK (revision >= 0),
	-- Tombstones up to this revision are gone: who has less reads everything.
	horizon  bigint  NOT NULL CHECK (horizon >= 0 AND horizon <= revision),
	-- The sum over all that lives, kept by every write.
	checksum bytea   NOT NULL CHECK (length(checksum) = 32)
);
INSERT INTO gateway.state VALUES (true, 0, 0, decode(repeat('00', 32), 'hex'));

-- The newest version of each route; the deleted ones stay as tombstones until
-- the horizon passes them. Names sort by bytes, as programs do.
CREATE TABLE gateway.route (
	namespace text COLLATE "C" NOT NULL CHECK (namespace <> ''),
	name      text COLLATE "C" NOT NULL CHECK (name <> ''),
	revision  bigint      NOT NULL CHECK (revision > 0),
	created   timestamptz NOT NULL,
	actor     text        NOT NULL CHECK (actor <> ''),
	reason    text        NOT NULL CHECK (reason <> ''),
	deleted   boolean     NOT NULL,
	-- json, not jsonb: a document comes back as it was written, numbers and
	-- escapes included. Queries cast: document::jsonb @> '{"disabled": true}'.
	document  json        NOT NULL,
	PRIMARY KEY (namespace, name)
);
CREATE INDEX route_since ON gateway.route (revision, namespace, name);

-- Who changed what, when and why. Nothing is ever changed here.
CREATE TABLE gateway.change (
	namespace text COLLATE "C" NOT NULL,
	name      text COLLATE "C" NOT NULL,
	revision  bigint      NOT NULL CHECK (revision > 0),
	created   timestamptz NOT NULL,
	actor     text        NOT NULL CHECK (actor <> ''),
	reason    text        NOT NULL CHECK (reason <> ''),
	before    json, -- null for a route that is new
	after     json, -- null for a deletion
	PRIMARY KEY (namespace, name, revision),
	CHECK (before IS NOT NULL OR after IS NOT NULL)
);

-- +goose StatementBegin
CREATE FUNCTION gateway.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the record of changes is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON gateway.change
	FOR EACH ROW EXECUTE FUNCTION gateway.refuse_change();

-- What each gateway says that it serves.
CREATE TABLE gateway.node (
	name        text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
	revision    bigint      NOT NULL,
	checksum    text        NOT NULL,
	version     text        NOT NULL,
	quarantined json        NOT NULL,
	seen        timestamptz NOT NULL
);
