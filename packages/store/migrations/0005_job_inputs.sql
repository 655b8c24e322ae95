-- migrate:up

-- Long inputs lie in storage: rows of the queue are read, changed and removed all the time.
ALTER TABLE jobs ALTER COLUMN input DROP NOT NULL;
ALTER TABLE jobs ADD COLUMN input_sha256 bytea REFERENCES blobs (sha256);
ALTER TABLE jobs ADD CONSTRAINT jobs_one_input CHECK ((input IS NULL) <> (input_sha256 IS NULL));
CREATE INDEX jobs_input_sha256 ON jobs (input_sha256) WHERE input_sha256 IS NOT NULL;
