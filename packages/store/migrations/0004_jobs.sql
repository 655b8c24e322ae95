-- migrate:up

-- What an asynchronous execution still needs to be carried out; its row goes in the statement that records the end, which is what lets an outcome be recorded
-- exactly once. The execution's own row says how far it is. `attempt` and `holder` together fence off processes that were taken for dead.
CREATE TABLE jobs (
  execution_id uuid PRIMARY KEY,
  workspace text COLLATE "C" NOT NULL,
  function text COLLATE "C" NOT NULL,
  -- As it was called: `name`, `name@3`, `name@alias`.
  call text COLLATE "C" NOT NULL,
  trigger text NOT NULL,
  -- The whole input, however long; JSON text.
  input text NOT NULL,
  priority smallint NOT NULL,
  retries integer NOT NULL,
  timeout_ms integer,
  callback_url text,
  -- Sealed by the server; null: the workspace's own.
  callback_key bytea,
  -- May be taken now.
  ready boolean NOT NULL,
  -- When it became ready; when not ready, when it will: a delay is over, or the lease of its holder has passed.
  due_at timestamptz NOT NULL,
  holder text,
  -- How often it was begun; of these, how often it failed and how often it was given back. The others were lost with their process.
  attempt integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  released integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX jobs_ready ON jobs (priority DESC, due_at, execution_id) WHERE ready;
CREATE INDEX jobs_due_at ON jobs (due_at) WHERE NOT ready;

-- JSON list of the attempts before the last one: {attempt, endedAt, code, message}.
ALTER TABLE executions ADD COLUMN attempts text;

-- Keys with which callers make asking twice harmless.
CREATE TABLE idempotency_keys (
  workspace text COLLATE "C" NOT NULL,
  function text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  input_digest bytea NOT NULL,
  execution_id uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (workspace, function, key)
);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- Outcomes to be told to somebody. A row comes with the execution's end, in the same statement.
CREATE TABLE callbacks (
  execution_id uuid PRIMARY KEY,
  workspace text COLLATE "C" NOT NULL,
  url text NOT NULL,
  key bytea,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  -- Of the last attempt: the answer's status, or why there was none.
  status integer,
  problem text,
  next_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE INDEX callbacks_next_at ON callbacks (next_at) WHERE state = 'pending';
CREATE INDEX callbacks_ended_at ON callbacks (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE schedules (
  workspace_id bigint NOT NULL,
  function_name text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  cron text NOT NULL,
  time_zone text NOT NULL,
  catch_up text NOT NULL CHECK (catch_up IN ('skip', 'once', 'all')),
  paused boolean NOT NULL,
  -- JSON of what each execution is called with.
  input text NOT NULL,
  -- JSON: retries, priority, timeoutMs.
  options text NOT NULL,
  -- The next due time; null: paused, or there is none any more. Moved on in the transaction that makes the execution.
  next_at timestamptz,
  last_at timestamptz,
  last_execution_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, function_name, name),
  FOREIGN KEY (workspace_id, function_name) REFERENCES functions (workspace_id, name) ON DELETE CASCADE
);
CREATE INDEX schedules_next_at ON schedules (next_at) WHERE next_at IS NOT NULL;
