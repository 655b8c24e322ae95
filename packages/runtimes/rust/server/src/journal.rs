use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;

/// Characters of one entry that are kept.
const MAX_ENTRY_CHARACTERS: usize = 8000;
const CUT_NOTE: &str = "... Log truncated due to size limit (8000 characters)";

/// Writes log entries as lines of JSON to the real stdout, or as text to files in a folder.
pub struct Journal {
    stdout: Mutex<File>,
    folder: Option<PathBuf>,
}

impl Journal {
    pub fn new(stdout: File, folder: Option<PathBuf>) -> Journal {
        Journal {
            stdout: Mutex::new(stdout),
            folder,
        }
    }

    /// A line of the server itself.
    pub fn say(&self, line: &str) {
        self.put(format!("{line}\n").as_bytes());
    }

    /// Puts one entry out, in one write.
    pub fn write(&self, id: Option<&str>, level: &str, text: &str, fields: Option<&Value>) {
        let cut;
        let text = match text.char_indices().nth(MAX_ENTRY_CHARACTERS) {
            Some((end, _)) => {
                cut = format!("{}{CUT_NOTE}", &text[..end]);
                &cut
            }
            None => text,
        };
        let fields =
            fields.filter(|fields| fields.as_object().is_some_and(|fields| !fields.is_empty()));
        if let (Some(folder), Some(id)) = (&self.folder, id) {
            let kind = if level == "error" { "errors" } else { "logs" };
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(folder.join(format!("{id}_{kind}.log")));
            if let Ok(mut file) = file {
                let fields = fields
                    .map(|fields| format!(" {fields}"))
                    .unwrap_or_default();
                let _ = file.write_all(format!("{text}{fields}\n").as_bytes());
            }
            return;
        }
        let mut line = Vec::with_capacity(text.len() + 64);
        line.extend_from_slice(b"{\"id\":");
        let _ = serde_json::to_writer(&mut line, &id);
        line.extend_from_slice(b",\"level\":\"");
        line.extend_from_slice(level.as_bytes());
        line.extend_from_slice(b"\",\"text\":");
        let _ = serde_json::to_writer(&mut line, text);
        if let Some(fields) = fields {
            line.extend_from_slice(b",\"fields\":");
            let _ = serde_json::to_writer(&mut line, fields);
        }
        line.extend_from_slice(b"}\n");
        self.put(&line);
    }

    /// A closed stdout must not end the server.
    fn put(&self, line: &[u8]) {
        let _ = self
            .stdout
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .write_all(line);
    }
}
