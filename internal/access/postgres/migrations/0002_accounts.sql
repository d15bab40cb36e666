-- +goose Up

-- A disabled account stays, since audits name it, and lets nobody in.
ALTER TABLE access.account
	ADD COLUMN disabled   boolean NOT NULL DEFAULT false,
	ADD COLUMN last_login timestamptz;

-- +goose Down
ALTER TABLE access.account DROP COLUMN disabled, DROP COLUMN last_login;
