-- +goose Up

-- A fragment is the spans of one trace and one service that one batch brought.
-- Whatever is asked of spans beyond these columns is answered from the payload:
-- terms and longest only say which traces are worth reading.
CREATE TABLE tracing.fragment (
    -- microseconds since 1970 of its first span, moved into what is kept: no
    -- earlier than the retention, no later than an hour ahead of the writer's clock
    at bigint NOT NULL,
    -- the lower 64 bits of the trace's id
    trace bigint NOT NULL,
    -- hash of the service's name
    service int NOT NULL,
    -- microseconds of its longest span, 2^31-1 for all that are longer
    longest int NOT NULL,
    -- the row of tracing.dirty that says this trace has changed
    batch bigint NOT NULL,
    -- hashes of names, tags and annotations, sorted
    terms int[] NOT NULL,
    -- Zipkin's protobuf ListOfSpans in a zstd frame, which names its dictionary
    payload bytea NOT NULL
) PARTITION BY RANGE (at);
-- it is compressed already
ALTER TABLE tracing.fragment ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX fragment_trace ON tracing.fragment (trace);
CREATE INDEX fragment_service ON tracing.fragment (service, at);
-- rows come nearly in the order of time, so that a few ranges of blocks are enough
CREATE INDEX fragment_at ON tracing.fragment USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX fragment_terms ON tracing.fragment USING gin (terms);

-- Takes what no other partition takes, until one is made.
CREATE TABLE tracing.fragment_default PARTITION OF tracing.fragment DEFAULT;

-- Dictionaries that payloads are compressed with. One is deleted only when every
-- partition that could need it is gone.
CREATE TABLE tracing.dictionary (
    id int PRIMARY KEY CHECK (id BETWEEN 1 AND 2147483647),
    made timestamptz NOT NULL DEFAULT now(),
    retired timestamptz,
    bytes bytea NOT NULL
);

-- Names to choose from, as they were last seen.
CREATE TABLE tracing.name (
    kind text NOT NULL CHECK (kind IN ('service', 'span', 'remote', 'tag')),
    owner text NOT NULL, -- the service, or the key of a tag; empty for services
    name text NOT NULL,
    seen date NOT NULL,
    PRIMARY KEY (kind, owner, name)
);

-- Traces that a batch changed and that links have not been made of since.
CREATE TABLE tracing.dirty (
    id bigint PRIMARY KEY,
    seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    traces bigint[] NOT NULL
);
CREATE SEQUENCE tracing.batch_block;

-- Who makes links: whoever has the token, until another takes it after its end.
CREATE TABLE tracing.linker (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    token bigint NOT NULL,
    until timestamptz NOT NULL
);
INSERT INTO tracing.linker (token, until) VALUES (0, 'epoch');

-- Who called whom, by the minute in which the trace began.
CREATE TABLE tracing.dep_minute (
    minute bigint NOT NULL,
    parent text NOT NULL,
    child text NOT NULL,
    calls bigint NOT NULL,
    errors bigint NOT NULL,
    PRIMARY KEY (minute, parent, child)
);

-- How far behind its trace's beginning a fragment of a day was at most, in
-- microseconds: how much wider than asked a search has to look.
CREATE TABLE tracing.reach (
    day int PRIMARY KEY,
    micros bigint NOT NULL
);

-- What was replayed of each spool.
CREATE TABLE tracing.batch (
    spool text PRIMARY KEY,
    number bigint NOT NULL,
    replayed timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE tracing.batch, tracing.reach, tracing.dep_minute, tracing.linker, tracing.dirty, tracing.name, tracing.dictionary, tracing.fragment;
DROP SEQUENCE tracing.batch_block;
