-- +goose Up

-- What stands in the way of governing an instance in full, in sentences.
ALTER TABLE governance.instance ADD COLUMN lacks text[] NOT NULL DEFAULT '{}';

-- The processes that share out the pods which are governed without code of ours. A
-- row is renewed every second, and goes with its process or seconds after its last
-- word: whoever is left takes its pods over.
CREATE TABLE governance.collector (
	id   text COLLATE "C" PRIMARY KEY CHECK (id <> ''),
	seen timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- +goose Down
DROP TABLE governance.collector;
ALTER TABLE governance.instance DROP COLUMN lacks;
