use std::fmt::Display;
use std::sync::Arc;

use serde_json::Value;

use crate::execution::Execution;
use crate::request::Request;
use crate::response::Responder;

/// One execution.
pub struct Context {
    pub req: Request,
    pub res: Responder,
    pub logger: Logger,
}

impl Context {
    /// Writes a line to the execution's log. A `json!` value is written as JSON.
    pub fn log(&self, message: impl Display) {
        self.logger
            .execution
            .log("info", &message.to_string(), None);
    }

    /// Writes a line to the execution's error log.
    pub fn error(&self, message: impl Display) {
        self.logger
            .execution
            .log("error", &message.to_string(), None);
    }

    /// True once the caller has given up or the time is over: nobody waits for the response any more.
    pub fn is_cancelled(&self) -> bool {
        self.logger.execution.is_cancelled()
    }
}

/// Writes lines with a level and fields: `context.logger.warn("slow", json!({ "ms": 12 }))`.
#[derive(Clone)]
pub struct Logger {
    pub(crate) execution: Arc<Execution>,
}

impl Logger {
    pub fn debug(&self, message: impl Display, fields: Value) {
        self.execution
            .log("debug", &message.to_string(), Some(fields));
    }

    pub fn info(&self, message: impl Display, fields: Value) {
        self.execution
            .log("info", &message.to_string(), Some(fields));
    }

    pub fn warn(&self, message: impl Display, fields: Value) {
        self.execution
            .log("warn", &message.to_string(), Some(fields));
    }

    pub fn error(&self, message: impl Display, fields: Value) {
        self.execution
            .log("error", &message.to_string(), Some(fields));
    }
}
