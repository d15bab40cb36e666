-- +goose Up

CREATE TABLE access.account (
	name       text        PRIMARY KEY CHECK (name <> ''),
	role       text        NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
	namespaces text[]      NOT NULL DEFAULT '{}',
	password   text        NOT NULL CHECK (password LIKE '$argon2id$%'),
	created    timestamptz NOT NULL
);

-- Secrets are kept as their SHA-256 only.
CREATE TABLE access.session (
	hash    bytea       PRIMARY KEY CHECK (octet_length(hash) = 32),
	account text        NOT NULL REFERENCES access.account (name) ON DELETE CASCADE,
	created timestamptz NOT NULL,
	-- It slides with use, to a bound that was set at its beginning.
	expires timestamptz NOT NULL,
	ends    timestamptz NOT NULL CHECK (ends >= expires),
	remote  text        NOT NULL
);
CREATE INDEX session_of ON access.session (account);
CREATE INDEX session_expires ON access.session (expires);

CREATE TABLE access.token (
	id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name       text        NOT NULL CHECK (name <> ''),
	hash       bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
	kind       text        NOT NULL CHECK (kind IN ('token', 'serviceaccount')),
	role       text        NOT NULL CHECK ((kind = 'token') = (role IN ('viewer', 'operator', 'admin')) AND (kind = 'token' OR role = '')),
	namespaces text[]      NOT NULL DEFAULT '{}',
	created    timestamptz NOT NULL,
	created_by text        NOT NULL,
	expires    timestamptz,
	last_used  timestamptz,
	revoked    timestamptz
);
-- A name means one token at a time, since audits name tokens.
CREATE UNIQUE INDEX token_name ON access.token (name) WHERE revoked IS NULL;

CREATE TABLE access.audit (
	id        bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	time      timestamptz NOT NULL,
	principal text        NOT NULL CHECK (principal <> ''),
	action    text        NOT NULL CHECK (action <> ''),
	object    text        NOT NULL,
	reason    text        NOT NULL,
	remote    text        NOT NULL,
	-- Empty while the write runs, and for ever if its process was killed.
	outcome   text        NOT NULL DEFAULT '',
	revision  bigint      NOT NULL DEFAULT 0
);
CREATE INDEX audit_time ON access.audit (time DESC, id DESC);

-- +goose Down
DROP TABLE access.audit, access.token, access.session, access.account;
