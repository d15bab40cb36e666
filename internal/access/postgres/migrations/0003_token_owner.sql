-- +goose Up

-- Whose a token is: the account that made it, or whose token made it. It counts only
-- while that account does. What no account stands behind, such as what `weir up` makes
-- for its own machine, has no owner, nor has what was made by an account that is gone.
ALTER TABLE access.token ADD COLUMN owner text REFERENCES access.account (name);

WITH RECURSIVE made AS (
	SELECT t.id, t.name, t.created, a.name AS owner
	FROM access.token t JOIN access.account a ON t.created_by = 'user:' || a.name
	UNION
	SELECT t.id, t.name, t.created, m.owner
	FROM made m JOIN access.token t ON t.created_by = 'token:' || m.name AND t.id > m.id
		-- A name means one token at a time: the maker is the last of that name before.
		AND m.id = (SELECT max(b.id) FROM access.token b WHERE b.name = m.name AND b.id < t.id)
)
UPDATE access.token t SET owner = made.owner FROM made WHERE made.id = t.id;

CREATE INDEX token_owner ON access.token (owner) WHERE revoked IS NULL;

-- +goose Down
ALTER TABLE access.token DROP COLUMN owner;
