-- +goose Up

-- The state that the last transition of each circuit of an instance left it in: one
-- that is held open has no calls that run, and so may have no samples to tell of it.
CREATE TABLE governance.circuit (
	app_namespace  text        NOT NULL,
	app_name       text        NOT NULL,
	instance       text        NOT NULL,
	command        text        NOT NULL,
	at             text        NOT NULL CHECK (at IN ('provider', 'caller')),
	peer_namespace text        NOT NULL,
	peer_name      text        NOT NULL,
	boot           text        NOT NULL, -- the process; the next one begins anew
	state          text        NOT NULL,
	time           timestamptz NOT NULL,
	PRIMARY KEY (app_namespace, app_name, instance, command, at, peer_namespace, peer_name)
) WITH (fillfactor = 80);

-- Followers read events by their ids, as they come.
CREATE INDEX event_id ON governance.event (id);

-- +goose Down
DROP INDEX governance.event_id;
DROP TABLE governance.circuit;
