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
    active_version: number;
    last_version: number;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  deployments: {
    workspace_id: number;
    function_name: string;
    version: number;
    source_digest: Buffer;
    language: string;
    contract: "inline" | "handler";
    entrypoint: string | null;
    parameters: Json;
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
    active_version: "integer",
    last_version: "integer",
    created_at: "timestamp with time zone",
    updated_at: "timestamp with time zone",
  },
  deployments: {
    workspace_id: "bigint",
    function_name: "text",
    version: "integer",
    source_digest: "bytea",
    language: "text",
    contract: "text",
    entrypoint: "text?",
    parameters: "json",
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
} as const satisfies ColumnTypes;
