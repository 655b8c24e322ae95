-- migrate:up

-- Names compare by code point everywhere, whatever the locale of the server is.
CREATE TABLE workspaces (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  revision bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- Source files of deployments, once per content; `content` is the canonical encoding that `digest` is the sha256 of.
CREATE TABLE sources (
  digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
  content bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- `json`, not `jsonb`: what users wrote is echoed with their key order.
CREATE TABLE functions (
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  name text COLLATE "C" NOT NULL,
  settings json NOT NULL,
  active_version integer NOT NULL,
  last_version integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, name)
);

-- Everything that decides how a source is called is part of the deployment, so that activating an older one brings it back whole.
CREATE TABLE deployments (
  workspace_id bigint NOT NULL,
  function_name text COLLATE "C" NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  source_digest bytea NOT NULL REFERENCES sources (digest),
  language text NOT NULL,
  contract text NOT NULL CHECK (contract IN ('inline', 'handler')),
  entrypoint text,
  parameters json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, function_name, version),
  FOREIGN KEY (workspace_id, function_name) REFERENCES functions (workspace_id, name) ON DELETE CASCADE
);
CREATE INDEX deployments_source_digest ON deployments (source_digest);

ALTER TABLE functions
  ADD CONSTRAINT functions_active_deployment FOREIGN KEY (workspace_id, name, active_version)
  REFERENCES deployments (workspace_id, function_name, version) DEFERRABLE INITIALLY DEFERRED;

-- Executions are written in bulk and found by workspace; ids are UUIDs of version 7, so their order is the order of the calls and
-- both indexes grow at one end. No foreign key: recording a call must not wait for, or fail with, a change of its workspace.
CREATE TABLE executions (
  id uuid PRIMARY KEY,
  workspace text COLLATE "C" NOT NULL,
  function text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  language text NOT NULL,
  trigger text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled')),
  started_at timestamptz NOT NULL,
  queued_ms double precision NOT NULL,
  duration_ms double precision NOT NULL,
  input text,
  output text,
  error text,
  error_code text,
  logs text
);
CREATE INDEX executions_workspace_id ON executions (workspace, id);
-- What people look for among many good calls are the few bad ones.
CREATE INDEX executions_not_succeeded ON executions (workspace, state, id) WHERE state <> 'succeeded';

CREATE TABLE dependencies (
  workspace_id bigint NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  language text COLLATE "C" NOT NULL,
  manifest json NOT NULL,
  lock text,
  lock_digest text,
  inferred json NOT NULL,
  status text NOT NULL CHECK (status IN ('none', 'resolving', 'installing', 'ready', 'failed')),
  error json,
  log text NOT NULL DEFAULT '',
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, language)
);
