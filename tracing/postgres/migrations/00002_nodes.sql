-- +goose Up

-- What the collectors say of themselves. A row is renewed every few seconds, and goes
-- with its process or a day after its last word.
CREATE TABLE tracing.node (
    name    text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    version text        NOT NULL, -- of weir
    started timestamptz NOT NULL,
    seen    timestamptz NOT NULL,
    facts   json        NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- +goose Down
DROP TABLE tracing.node;
