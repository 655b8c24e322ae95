use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Starts the names of the headers between caller and server, which user code neither sees nor sets.
pub const CONTROL_PREFIX: &str = "x-open-runtimes-";

/// Settings of the process (HTTP.md), read once and before user code.
pub struct Settings {
    pub socket: Option<PathBuf>,
    pub port: u16,
    pub code: PathBuf,
    pub secret: String,
    pub development: bool,
    /// Folder for log files; none: logs go to stdout.
    pub log_folder: Option<PathBuf>,
    /// Headers that every request has.
    pub enforced: Vec<(String, String)>,
}

impl Settings {
    /// To be called while there is one thread. The second value says what is wrong with the settings.
    pub fn read() -> (Settings, Option<String>) {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let mut problem = None;
        let mut enforced = Vec::new();
        if let Some(given) = text("OPEN_RUNTIMES_HEADERS") {
            match serde_json::from_str::<Map<String, Value>>(&given) {
                Ok(headers) => {
                    for (name, value) in headers {
                        let value = match value {
                            Value::String(value) => value,
                            other => other.to_string(),
                        };
                        enforced.push((name.to_lowercase(), value));
                    }
                }
                Err(error) => {
                    problem = Some(format!(
                        "OPEN_RUNTIMES_HEADERS is not a JSON object: {error}"
                    ))
                }
            }
        }
        let settings = Settings {
            socket: text("TREADLE_SOCKET").map(PathBuf::from),
            port: text("PORT")
                .and_then(|port| port.parse().ok())
                .unwrap_or(3000),
            code: text("TREADLE_CODE")
                .unwrap_or_else(|| "/usr/local/server/src/function".to_owned())
                .into(),
            secret: text("OPEN_RUNTIMES_SECRET").unwrap_or_default(),
            development: text("OPEN_RUNTIMES_ENV").as_deref() == Some("development"),
            log_folder: Some(PathBuf::from(
                text("TREADLE_LOGS").unwrap_or_else(|| "/mnt/logs".to_owned()),
            ))
            .filter(|folder| Path::is_dir(folder)),
            enforced,
        };
        // The secret is the caller's, not user code's.
        env::remove_var("OPEN_RUNTIMES_SECRET");
        (settings, problem)
    }
}
