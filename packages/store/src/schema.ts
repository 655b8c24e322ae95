import type { ColumnType, Generated } from "kysely";

type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;
/** A `json` column: read as parsed value, written as JSON text. */
type Json = ColumnType<unknown, string, string>;

/** The tables of the database, for Kysely. A test compares SCHEMA_COLUMNS with the migrated database, and the compiler compares it with this. */
export interface Schema {
  workspaces: {
    id: ColumnType<number, never, never>;
    name: string;
    revision: Generated<number>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  sources: { digest: Buffer; content: Buffer; created_at: Timestamp };
  functions: {
    workspace_id: number;
    name: string;
    settings: Json;
    active_version: number | null;
    last_version: number;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  deployments: {
    workspace_id: number;
    function_name: string;
    version: number;
    source_digest: Buffer | null;
    language: string;
    contract: "inline" | "handler" | "script";
    entrypoint: string | null;
    parameters: Json;
    created_at: Timestamp;
    build_id: string | null;
    settings: ColumnType<unknown, string | undefined, string>;
    activate_when_ready: Generated<boolean>;
    activation_error: ColumnType<unknown, string | null | undefined, string | null>;
    origin: ColumnType<unknown, string | null | undefined, string | null>;
  };
  builds: {
    id: string;
    key: Buffer;
    source_sha256: Buffer;
    source_digest: Buffer;
    source_bytes: number;
    source_files: number;
    language: string;
    runtime: string;
    entrypoint: string | null;
    command: string | null;
    state: "queued" | "building" | "ready" | "failed" | "cancelled";
    lock_digest: Buffer | null;
    installation: ColumnType<unknown, string | null | undefined, string | null>;
    log: Generated<string>;
    log_sha256: Buffer | null;
    error: ColumnType<unknown, string | null | undefined, string | null>;
    artifact_bytes: number | null;
    duration_ms: number | null;
    holder: string | null;
    leased_until: ColumnType<Date | null, Date | null | undefined, Date | null>;
    attempts: Generated<number>;
    requested_at: Timestamp;
    created_at: Timestamp;
    started_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    ended_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
  };
  build_layers: { build_id: string; kind: "dependencies" | "code"; sha256: Buffer; bytes: number };
  dependency_layers: {
    key: Buffer;
    sha256: Buffer;
    bytes: number;
    lock_digest: Buffer | null;
    created_at: Timestamp;
    used_at: Timestamp;
  };
  function_aliases: { workspace_id: number; function_name: string; alias: string; version: number; updated_at: Timestamp };
  variables: {
    workspace_id: number;
    function_name: string;
    name: string;
    secret: boolean;
    value: string | null;
    sealed: Buffer | null;
    updated_at: Timestamp;
  };
  domains: {
    host: string;
    workspace_id: number;
    function_name: string;
    reference: string | null;
    created_at: Timestamp;
  };
  executions: {
    id: string;
    workspace: string;
    function: string;
    version: number;
    language: string;
    trigger: string;
    state: string;
    started_at: Timestamp;
    queued_ms: number;
    duration_ms: number;
    input: string | null;
    output: string | null;
    error: string | null;
    error_code: string | null;
    logs: string | null;
    attempts: ColumnType<string | null, string | null | undefined, string | null>;
  };
  jobs: {
    execution_id: string;
    workspace: string;
    function: string;
    call: string;
    trigger: string;
    input: string | null;
    input_sha256: Buffer | null;
    priority: number;
    retries: number;
    timeout_ms: number | null;
    callback_url: string | null;
    callback_key: Buffer | null;
    ready: boolean;
    due_at: Timestamp;
    holder: string | null;
    attempt: Generated<number>;
    failures: Generated<number>;
    released: Generated<number>;
  };
  idempotency_keys: {
    workspace: string;
    function: string;
    key: string;
    input_digest: Buffer;
    execution_id: string;
    expires_at: Timestamp;
  };
  callbacks: {
    execution_id: string;
    workspace: string;
    url: string;
    key: Buffer | null;
    state: "pending" | "delivered" | "failed";
    attempts: Generated<number>;
    status: number | null;
    problem: string | null;
    next_at: Timestamp;
    created_at: Timestamp;
    ended_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
  };
  schedules: {
    workspace_id: number;
    function_name: string;
    name: string;
    cron: string;
    time_zone: string;
    catch_up: "skip" | "once" | "all";
    paused: boolean;
    input: string;
    options: string;
    next_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    last_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    last_execution_id: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  dependencies: {
    workspace_id: number;
    language: string;
    manifest: Json;
    lock: string | null;
    lock_digest: string | null;
    inferred: Json;
    status: string;
    error: ColumnType<unknown, string | null, string | null>;
    log: Generated<string>;
    updated_at: Timestamp;
  };
  blobs: {
    sha256: Buffer;
    size: number;
    origin: string | null;
    pinned_until: ColumnType<Date, Date, Date>;
    collecting_until: ColumnType<Date | null, Date | null | undefined, Date | null>;
    verified_at: ColumnType<Date | null, Date | null, Date | null>;
    damaged_at: ColumnType<Date | null, Date | null, Date | null>;
    created_at: Timestamp;
  };
  files: {
    id: string;
    workspace_id: number;
    name: string;
    mime_type: string;
    description: string | null;
    sha256: Buffer;
    size: number;
    public: Generated<boolean>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  file_usage: { workspace_id: number; files: Generated<number>; bytes: Generated<number>; quota_bytes: number | null };
  uploads: {
    id: string;
    workspace_id: number;
    holder: string;
    name: string;
    mime_type: string;
    metadata: Json;
    size: number | null;
    file_id: string | null;
    finished_at: ColumnType<Date | null, Date | null, Date | null>;
    expires_at: ColumnType<Date, Date, Date>;
    created_at: Timestamp;
  };
  file_imports: {
    id: string;
    workspace_id: number;
    file_id: string;
    url: string;
    name: string | null;
    mime_type: string | null;
    expected_sha256: Buffer | null;
    expected_size: number | null;
    state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
    received: Generated<number>;
    size: number | null;
    attempts: Generated<number>;
    error: ColumnType<unknown, string | null, string | null>;
    holder: string | null;
    leased_until: ColumnType<Date | null, Date | null, Date | null>;
    created_at: Timestamp;
    ended_at: ColumnType<Date | null, Date | null, Date | null>;
  };
  bundles: {
    id: string;
    workspace_id: number;
    name: string;
    description: string | null;
    checksum: Buffer;
    size: number;
    depth: number;
    entries: number;
    public: Generated<boolean>;
    created_at: Timestamp;
  };
  bundle_contents: { bundle_id: string; position: number; name: string; file_id: string | null; child_id: string | null };
}

type ColumnTypes = { readonly [Table in keyof Schema]: { readonly [Column in keyof Schema[Table]]: string } };

/** Type and nullability of every column, in the words of information_schema; `?` marks nullable ones. */
export const SCHEMA_COLUMNS = {
  workspaces: {
    id: "bigint",
    name: "text",
    revision: "bigint",
    created_at: "timestamp with time zone",
    updated_at: "timestamp with time zone",
  },
  sources: { digest: "bytea", content: "bytea", created_at: "timestamp with time zone" },
  functions: {
    workspace_id: "bigint",
    name: "text",
    settings: "json",
    active_version: "integer?",
    last_version: "integer",
    created_at: "timestamp with time zone",
    updated_at: "timestamp with time zone",
  },
  deployments: {
    workspace_id: "bigint",
    function_name: "text",
    version: "integer",
    source_digest: "bytea?",
    language: "text",
    contract: "text",
    entrypoint: "text?",
    parameters: "json",
    created_at: "timestamp with time zone",
    build_id: "uuid?",
    settings: "json",
    activate_when_ready: "boolean",
    activation_error: "json?",
    origin: "json?",
  },
  builds: {
    id: "uuid",
    key: "bytea",
    source_sha256: "bytea",
    source_digest: "bytea",
    source_bytes: "bigint",
    source_files: "integer",
    language: "text",
    runtime: "text",
    entrypoint: "text?",
    command: "text?",
    state: "text",
    lock_digest: "bytea?",
    installation: "json?",
    log: "text",
    log_sha256: "bytea?",
    error: "json?",
    artifact_bytes: "bigint?",
    duration_ms: "double precision?",
    holder: "text?",
    leased_until: "timestamp with time zone?",
    attempts: "integer",
    requested_at: "timestamp with time zone",
    created_at: "timestamp with time zone",
    started_at: "timestamp with time zone?",
    ended_at: "timestamp with time zone?",
  },
  build_layers: { build_id: "uuid", kind: "text", sha256: "bytea", bytes: "bigint" },
  dependency_layers: {
    key: "bytea",
    sha256: "bytea",
    bytes: "bigint",
    lock_digest: "bytea?",
    created_at: "timestamp with time zone",
    used_at: "timestamp with time zone",
  },
  function_aliases: {
    workspace_id: "bigint",
    function_name: "text",
    alias: "text",
    version: "integer",
    updated_at: "timestamp with time zone",
  },
  variables: {
    workspace_id: "bigint",
    function_name: "text",
    name: "text",
    secret: "boolean",
    value: "text?",
    sealed: "bytea?",
    updated_at: "timestamp with time zone",
  },
  domains: {
    host: "text",
    workspace_id: "bigint",
    function_name: "text",
    reference: "text?",
    created_at: "timestamp with time zone",
  },
  executions: {
    id: "uuid",
    workspace: "text",
    function: "text",
    version: "integer",
    language: "text",
    trigger: "text",
    state: "text",
    started_at: "timestamp with time zone",
    queued_ms: "double precision",
    duration_ms: "double precision",
    input: "text?",
    output: "text?",
    error: "text?",
    error_code: "text?",
    logs: "text?",
    attempts: "text?",
  },
  jobs: {
    execution_id: "uuid",
    workspace: "text",
    function: "text",
    call: "text",
    trigger: "text",
    input: "text?",
    input_sha256: "bytea?",
    priority: "smallint",
    retries: "integer",
    timeout_ms: "integer?",
    callback_url: "text?",
    callback_key: "bytea?",
    ready: "boolean",
    due_at: "timestamp with time zone",
    holder: "text?",
    attempt: "integer",
    failures: "integer",
    released: "integer",
  },
  idempotency_keys: {
    workspace: "text",
    function: "text",
    key: "text",
    input_digest: "bytea",
    execution_id: "uuid",
    expires_at: "timestamp with time zone",
  },
  callbacks: {
    execution_id: "uuid",
    workspace: "text",
    url: "text",
    key: "bytea?",
    state: "text",
    attempts: "integer",
    status: "integer?",
    problem: "text?",
    next_at: "timestamp with time zone",
    created_at: "timestamp with time zone",
    ended_at: "timestamp with time zone?",
  },
  schedules: {
    workspace_id: "bigint",
    function_name: "text",
    name: "text",
    cron: "text",
    time_zone: "text",
    catch_up: "text",
    paused: "boolean",
    input: "text",
    options: "text",
    next_at: "timestamp with time zone?",
    last_at: "timestamp with time zone?",
    last_execution_id: "uuid?",
    created_at: "timestamp with time zone",
    updated_at: "timestamp with time zone",
  },
  dependencies: {
    workspace_id: "bigint",
    language: "text",
    manifest: "json",
    lock: "text?",
    lock_digest: "text?",
    inferred: "json",
    status: "text",
    error: "json?",
    log: "text",
    updated_at: "timestamp with time zone",
  },
  blobs: {
    sha256: "bytea",
    size: "bigint",
    origin: "text?",
    pinned_until: "timestamp with time zone",
    collecting_until: "timestamp with time zone?",
    verified_at: "timestamp with time zone?",
    damaged_at: "timestamp with time zone?",
    created_at: "timestamp with time zone",
  },
  files: {
    id: "uuid",
    workspace_id: "bigint",
    name: "text",
    mime_type: "text",
    description: "text?",
    sha256: "bytea",
    size: "bigint",
    public: "boolean",
    created_at: "timestamp with time zone",
    updated_at: "timestamp with time zone",
  },
  file_usage: { workspace_id: "bigint", files: "bigint", bytes: "bigint", quota_bytes: "bigint?" },
  uploads: {
    id: "uuid",
    workspace_id: "bigint",
    holder: "text",
    name: "text",
    mime_type: "text",
    metadata: "json",
    size: "bigint?",
    file_id: "uuid?",
    finished_at: "timestamp with time zone?",
    expires_at: "timestamp with time zone",
    created_at: "timestamp with time zone",
  },
  file_imports: {
    id: "uuid",
    workspace_id: "bigint",
    file_id: "uuid",
    url: "text",
    name: "text?",
    mime_type: "text?",
    expected_sha256: "bytea?",
    expected_size: "bigint?",
    state: "text",
    received: "bigint",
    size: "bigint?",
    attempts: "integer",
    error: "json?",
    holder: "text?",
    leased_until: "timestamp with time zone?",
    created_at: "timestamp with time zone",
    ended_at: "timestamp with time zone?",
  },
  bundles: {
    id: "uuid",
    workspace_id: "bigint",
    name: "text",
    description: "text?",
    checksum: "bytea",
    size: "bigint",
    depth: "integer",
    entries: "bigint",
    public: "boolean",
    created_at: "timestamp with time zone",
  },
  bundle_contents: { bundle_id: "uuid", position: "integer", name: "text", file_id: "uuid?", child_id: "uuid?" },
} as const satisfies ColumnTypes;
