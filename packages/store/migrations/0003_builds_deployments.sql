-- migrate:up

-- A build turns a source into an artifact, once for everybody: `key` is the digest of all that can change the artifact (source, runtime, command, entry file).
CREATE TABLE builds (
  id uuid PRIMARY KEY,
  key bytea NOT NULL CHECK (octet_length(key) = 32),
  -- The source as it is kept: a tar.gz of the checked tree. `source_digest` is the digest of the tree itself, whatever archive it came in.
  source_sha256 bytea NOT NULL REFERENCES blobs (sha256),
  source_digest bytea NOT NULL CHECK (octet_length(source_digest) = 32),
  source_bytes bigint NOT NULL,
  source_files integer NOT NULL,
  language text NOT NULL,
  runtime text NOT NULL,
  entrypoint text,
  command text,
  state text NOT NULL CHECK (state IN ('queued', 'building', 'ready', 'failed', 'cancelled')),
  lock_digest bytea,
  -- What npm or uv installed for it: {"language", "files": {name: text}, "lockText"}; null: nothing.
  installation json,
  -- Lines of JSON: the end of the log; all of it is in storage when it is longer.
  log text NOT NULL DEFAULT '',
  log_sha256 bytea REFERENCES blobs (sha256),
  error json,
  artifact_bytes bigint,
  duration_ms double precision,
  -- Who builds it, and until when that is believed.
  holder text,
  leased_until timestamptz,
  -- How often a process has begun it.
  attempts integer NOT NULL DEFAULT 0,
  -- Last asked for: whoever did may be about to add a deployment that refers to it.
  requested_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  ended_at timestamptz
);
-- The same source is not built twice; what failed or was cancelled may be tried again.
CREATE UNIQUE INDEX builds_key ON builds (key) WHERE state IN ('queued', 'building', 'ready');
CREATE INDEX builds_waiting ON builds (created_at) WHERE state IN ('queued', 'building');
CREATE INDEX builds_source_sha256 ON builds (source_sha256);
CREATE INDEX builds_log_sha256 ON builds (log_sha256);

-- Layers of a ready build, tar.gz in storage: what was fetched apart from what was made of it. Installed npm and Python packages are found by the lock digest instead.
CREATE TABLE build_layers (
  build_id uuid NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('dependencies', 'code')),
  sha256 bytea NOT NULL REFERENCES blobs (sha256),
  bytes bigint NOT NULL,
  PRIMARY KEY (build_id, kind)
);
CREATE INDEX build_layers_sha256 ON build_layers (sha256);

-- Dependency layers by what they were fetched for, so that equal manifests are fetched once.
CREATE TABLE dependency_layers (
  key bytea PRIMARY KEY CHECK (octet_length(key) = 32),
  sha256 bytea NOT NULL REFERENCES blobs (sha256),
  bytes bigint NOT NULL,
  lock_digest bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  used_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dependency_layers_sha256 ON dependency_layers (sha256);

-- A function may have deployments and none that is active: its first one is being built.
ALTER TABLE functions ALTER COLUMN active_version DROP NOT NULL;

-- A deployment is of files saved with the workspace (source_digest), or of a build.
ALTER TABLE deployments
  ALTER COLUMN source_digest DROP NOT NULL,
  ADD COLUMN build_id uuid REFERENCES builds (id),
  -- Limits, rights and names of secrets that belong to this version; merged over the function's settings.
  ADD COLUMN settings json NOT NULL DEFAULT '{}',
  -- To be made active when it is ready, unless a newer one was before.
  ADD COLUMN activate_when_ready boolean NOT NULL DEFAULT false,
  -- Why it could not be made active when it was ready.
  ADD COLUMN activation_error json,
  -- Where the source came from: {"kind": "upload" | "git", ...}.
  ADD COLUMN origin json,
  ADD CONSTRAINT deployments_source CHECK ((source_digest IS NULL) <> (build_id IS NULL)),
  DROP CONSTRAINT deployments_contract_check,
  ADD CONSTRAINT deployments_contract_check CHECK (contract IN ('inline', 'handler', 'script'));
CREATE INDEX deployments_build_id ON deployments (build_id);

CREATE TABLE function_aliases (
  workspace_id bigint NOT NULL,
  function_name text COLLATE "C" NOT NULL,
  alias text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, function_name, alias),
  FOREIGN KEY (workspace_id, function_name, version) REFERENCES deployments (workspace_id, function_name, version)
);
ALTER TABLE function_aliases ADD FOREIGN KEY (workspace_id, function_name) REFERENCES functions (workspace_id, name) ON DELETE CASCADE;

-- Environment variables and secrets of a workspace (function_name is '') or of one function. A secret's value is sealed and never read back out of the API.
CREATE TABLE variables (
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  function_name text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  secret boolean NOT NULL,
  -- A variable's value; null for a secret.
  value text,
  -- A secret's value: version of the sealing, nonce, AES-256-GCM ciphertext, tag; bound to workspace, function and name.
  sealed bytea,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, function_name, name),
  CHECK (secret = (sealed IS NOT NULL) AND secret = (value IS NULL))
);

-- Custom domains: a request for this host goes to this function, as if its path stood below /f/workspace/function.
CREATE TABLE domains (
  host text COLLATE "C" PRIMARY KEY,
  workspace_id bigint NOT NULL,
  function_name text COLLATE "C" NOT NULL,
  -- An alias or `@version`; null: the active one.
  reference text,
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (workspace_id, function_name) REFERENCES functions (workspace_id, name) ON DELETE CASCADE
);
CREATE INDEX domains_function ON domains (workspace_id, function_name);
