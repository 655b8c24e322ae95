use std::fmt::Display;
use std::io::{self, Read, Write};
use std::time::Instant;

use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::settings::CONTROL_PREFIX;

pub(crate) const NOTHING_RETURNED: &str =
    "Return statement missing. return context.res.empty() if no response is expected.";

type Source = Box<dyn FnOnce(&mut PieceWriter) -> io::Result<()> + Send>;

pub(crate) enum Content {
    Whole(Vec<u8>),
    Pieces(Source),
    Unwritable(String),
}

/// What a function returns, made by one of the methods of `context.res`. The default Response is none.
#[derive(Default)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Option<Content>,
}

impl Response {
    /// The status code, 200 to 599.
    pub fn status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// Adds a header; the same name may be given several times (Set-Cookie).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Makes responses. The returned one is sent.
#[derive(Clone, Copy)]
pub struct Responder;

impl Responder {
    pub fn text(&self, body: impl Into<String>) -> Response {
        made(200, Content::Whole(body.into().into_bytes()))
    }

    pub fn binary(&self, body: impl Into<Vec<u8>>) -> Response {
        made(200, Content::Whole(body.into())).header("content-type", "application/octet-stream")
    }

    /// Compact JSON of whatever serde can write. A value that cannot be written makes the execution fail.
    pub fn json(&self, value: impl Serialize) -> Response {
        let content = match serde_json::to_vec(&value) {
            Ok(text) => Content::Whole(text),
            Err(error) => {
                Content::Unwritable(format!("The response cannot be written as JSON: {error}"))
            }
        };
        made(200, content).header("content-type", "application/json")
    }

    pub fn redirect(&self, url: impl Into<String>) -> Response {
        made(301, Content::Whole(Vec::new())).header("location", url)
    }

    pub fn empty(&self) -> Response {
        made(204, Content::Whole(Vec::new()))
    }

    /// An older name of `text`.
    pub fn send(&self, body: impl Into<String>) -> Response {
        self.text(body)
    }

    /// Sends the head at once, then each piece as it is written. An error breaks the connection, so that nobody takes the
    /// part for the whole. Writing blocks while the caller does not read.
    pub fn stream(
        &self,
        source: impl FnOnce(&mut PieceWriter) -> io::Result<()> + Send + 'static,
    ) -> Response {
        made(200, Content::Pieces(Box::new(source)))
    }

    /// Streams what a reader gives, as it gives it.
    pub fn stream_from(&self, mut reader: impl Read + Send + 'static) -> Response {
        self.stream(move |pieces| {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match reader.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => pieces.write_all(&buffer[..length])?,
                }
            }
        })
    }
}

fn made(status: u16, content: Content) -> Response {
    Response {
        status,
        headers: Vec::new(),
        content: Some(content),
    }
}

/// What a function may return: a response, or a result that fails with something that can be displayed.
pub trait Outcome {
    fn response(self) -> Result<Response, String>;
}

impl Outcome for Response {
    fn response(self) -> Result<Response, String> {
        Ok(self)
    }
}

impl<E: Display> Outcome for Result<Response, E> {
    fn response(self) -> Result<Response, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Where a stream's pieces go: each write is sent as it is.
pub struct PieceWriter {
    pub(crate) pieces: mpsc::Sender<Result<Bytes, io::Error>>,
    pub(crate) deadline: Option<Instant>,
}

impl Write for PieceWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "Execution timed out.",
            ));
        }
        if !piece.is_empty() {
            self.pieces
                .blocking_send(Ok(Bytes::copy_from_slice(piece)))
                .map_err(|_| {
                    io::Error::new(io::ErrorKind::BrokenPipe, "The caller has gone away.")
                })?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What user code returned, checked: status, header lines and content to send.
pub(crate) struct Finished {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
}

pub(crate) fn finish(response: Response) -> Result<Finished, String> {
    let content = match response.content {
        None => return Err(NOTHING_RETURNED.to_owned()),
        Some(Content::Unwritable(reason)) => return Err(reason),
        Some(content) => content,
    };
    if !(200..=599).contains(&response.status) {
        return Err(format!(
            "The status code must be a whole number from 200 to 599, got {}.",
            response.status
        ));
    }
    let mut headers = Vec::with_capacity(response.headers.len() + 2);
    let mut content_type = "text/plain".to_owned();
    for (name, value) in response.headers {
        let name = name.to_ascii_lowercase();
        // The server counts the bytes and holds the connection.
        if name.starts_with(CONTROL_PREFIX)
            || matches!(
                name.as_str(),
                "connection" | "content-length" | "keep-alive" | "transfer-encoding" | "upgrade"
            )
        {
            continue;
        }
        if name == "content-type" {
            content_type = value;
        } else {
            headers.push((name, value));
        }
    }
    headers.push(("content-type".to_owned(), complete_type(content_type)));
    Ok(Finished {
        status: response.status,
        headers,
        content,
    })
}

/// In lower case but for multipart, whose boundary is a matter of case, and with a character set.
fn complete_type(content_type: String) -> String {
    let lower = content_type.to_ascii_lowercase();
    if lower.starts_with("multipart/") {
        content_type
    } else if lower.contains("charset=") {
        lower
    } else {
        lower + "; charset=utf-8"
    }
}
