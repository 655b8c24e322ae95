//! What a function in Rust is written with, and the server that runs it.
//!
//! ```ignore
//! use treadle::{json, Context, Response};
//!
//! pub fn main(context: Context) -> Response {
//!     context.res.json(json!({ "hello": "world" }))
//! }
//! ```

mod capture;
mod context;
mod execution;
mod journal;
mod request;
mod request_body;
mod response;
mod server;
mod settings;

pub use context::{Context, Logger};
pub use request::{Body, Request};
pub use request_body::BodyStream;
pub use response::{Outcome, PieceWriter, Responder, Response};
pub use serde_json::{self, json, Value};
pub use server::serve;
