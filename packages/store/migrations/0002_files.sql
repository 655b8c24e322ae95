-- migrate:up

-- Bytes in storage, once per content. A row is there before the bytes are written, and bytes are only ever deleted while their row is
-- locked and then gone with it: what storage holds always has a row. Whatever refers to bytes (files now; tables, bundles, logs later)
-- does so by a foreign key on this table, which is what keeps them from being collected.
CREATE TABLE blobs (
  sha256 bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
  size bigint NOT NULL CHECK (size >= 0),
  -- Null: in the configured storage, under the digest. Else the http(s) address they are read from.
  origin text,
  -- Not collected before this time: somebody is about to write them or to refer to them.
  pinned_until timestamptz NOT NULL,
  -- A collection has begun and its end is not known: until this time bytes that are found may still be on their way out.
  collecting_until timestamptz,
  -- Last found whole by the scrub; damaged_at: found missing or changed, and not whole again since.
  verified_at timestamptz,
  damaged_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX blobs_pinned_until ON blobs (pinned_until);

-- A file's id is also its DRS id. Names need not be unique.
CREATE TABLE files (
  id uuid PRIMARY KEY,
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  name text COLLATE "C" NOT NULL,
  mime_type text NOT NULL,
  description text,
  sha256 bytea NOT NULL REFERENCES blobs (sha256),
  size bigint NOT NULL CHECK (size >= 0),
  public boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX files_workspace_id ON files (workspace_id, id);
CREATE INDEX files_workspace_name ON files (workspace_id, name, id);
CREATE INDEX files_sha256 ON files (sha256);

-- What a workspace's files add up to, kept in the transactions that add and remove them; its row is the lock of the quota.
CREATE TABLE file_usage (
  workspace_id bigint PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
  files bigint NOT NULL DEFAULT 0 CHECK (files >= 0),
  bytes bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
  -- Null: the server's default.
  quota_bytes bigint CHECK (quota_bytes >= 0)
);

-- Uploads that may be resumed. Their bytes lie in the staging folder of the process that took them (`holder`), and how many there are
-- is that file's size.
CREATE TABLE uploads (
  id uuid PRIMARY KEY,
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  holder text NOT NULL,
  name text NOT NULL,
  mime_type text NOT NULL,
  metadata json NOT NULL,
  -- Null: the client has not said yet.
  size bigint CHECK (size >= 0),
  -- Set once the upload has become a file.
  file_id uuid REFERENCES files (id) ON DELETE SET NULL,
  finished_at timestamptz,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX uploads_workspace_id ON uploads (workspace_id);
CREATE INDEX uploads_expires_at ON uploads (expires_at);

-- Files being brought from elsewhere. `file_id` is the id that the file will have.
CREATE TABLE file_imports (
  id uuid PRIMARY KEY,
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  file_id uuid NOT NULL UNIQUE,
  url text NOT NULL,
  name text,
  mime_type text,
  expected_sha256 bytea CHECK (octet_length(expected_sha256) = 32),
  expected_size bigint CHECK (expected_size >= 0),
  state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  received bigint NOT NULL DEFAULT 0,
  -- Bytes to come in all, as the source has said.
  size bigint CHECK (size >= 0),
  -- How often a process has begun it: one that brings every process down is given up.
  attempts integer NOT NULL DEFAULT 0,
  error json,
  -- The process at work on it, and until when it has it without saying so again.
  holder text,
  leased_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE INDEX file_imports_workspace_id ON file_imports (workspace_id, id);
CREATE INDEX file_imports_open ON file_imports (leased_until) WHERE state IN ('queued', 'running');

-- Named groups of files and bundles (DRS). A checksum is the sha256 of the sorted hex checksums of the contents, put together.
CREATE TABLE bundles (
  id uuid PRIMARY KEY,
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  name text NOT NULL,
  description text,
  checksum bytea NOT NULL CHECK (octet_length(checksum) = 32),
  size bigint NOT NULL CHECK (size >= 0),
  -- How many bundles deep it is (1: holds files only), and how many entries it has at all depths; both bound what listing it whole costs.
  depth integer NOT NULL CHECK (depth >= 1),
  entries bigint NOT NULL CHECK (entries >= 1),
  public boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX bundles_workspace_id ON bundles (workspace_id, id);
CREATE INDEX bundles_checksum ON bundles (checksum);

CREATE TABLE bundle_contents (
  bundle_id uuid NOT NULL REFERENCES bundles (id) ON DELETE CASCADE,
  position integer NOT NULL,
  name text NOT NULL,
  -- Deferred while a workspace is removed: its files, bundles and their contents go in one statement, in whatever order.
  file_id uuid REFERENCES files (id) DEFERRABLE,
  child_id uuid REFERENCES bundles (id) DEFERRABLE,
  PRIMARY KEY (bundle_id, position),
  UNIQUE (bundle_id, name),
  CHECK ((file_id IS NULL) <> (child_id IS NULL))
);
CREATE INDEX bundle_contents_file_id ON bundle_contents (file_id);
CREATE INDEX bundle_contents_child_id ON bundle_contents (child_id);
