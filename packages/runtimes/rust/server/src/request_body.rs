use std::future::poll_fn;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::body::{Body, Bytes, Incoming};
use tokio::runtime::Handle;

/// Bodies that are wanted as a whole are at most this long; streams may be longer.
pub const MAX_BODY_BYTES: usize = 20 * 1024 * 1024;

/// Thrown through user code that asks for the whole of a body that is too large; answered with 413.
pub struct BodyTooLarge;
/// Thrown through user code when the caller went away in the middle of the body.
pub struct BodyBroken(pub String);

/// A body that is read when it is asked for, since only then it is known in which form.
#[derive(Clone)]
pub struct RequestBody {
    shared: Arc<Mutex<State>>,
}

enum State {
    Coming { source: Incoming, handle: Handle },
    Whole(Vec<u8>),
    Streamed,
    TooLarge,
    Broken(String),
}

impl RequestBody {
    pub fn coming(source: Incoming, handle: Handle) -> RequestBody {
        RequestBody {
            shared: Arc::new(Mutex::new(State::Coming { source, handle })),
        }
    }

    pub fn here(content: Vec<u8>) -> RequestBody {
        RequestBody {
            shared: Arc::new(Mutex::new(State::Whole(content))),
        }
    }

    fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self
            .shared
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let State::Coming { source, handle } = &mut *state {
            *state = handle.clone().block_on(read_whole(source));
        }
        state
    }

    pub fn whole(&self) -> Vec<u8> {
        // The lock must be free before anything is thrown.
        let thrown: Box<dyn std::any::Any + Send> = match &*self.read() {
            State::Whole(content) => return content.clone(),
            State::TooLarge => Box::new(BodyTooLarge),
            State::Broken(reason) => Box::new(BodyBroken(reason.clone())),
            State::Streamed | State::Coming { .. } => Box::new(
                "The request body was taken as a stream; it cannot be read again.".to_owned(),
            ),
        };
        resume_unwind(thrown)
    }

    /// Reads what nobody asked for, so that a function that wants no body does not get around its limit.
    pub fn is_too_large(&self) -> bool {
        matches!(&*self.read(), State::TooLarge)
    }

    pub fn stream(&self) -> BodyStream {
        let mut state = self
            .shared
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*state {
            State::Coming { .. } => match std::mem::replace(&mut *state, State::Streamed) {
                State::Coming { source, handle } => BodyStream {
                    source: Some((source, handle)),
                    piece: Bytes::new(),
                },
                _ => unreachable!(),
            },
            State::Whole(content) => BodyStream {
                source: None,
                piece: Bytes::copy_from_slice(content),
            },
            _ => BodyStream {
                source: None,
                piece: Bytes::new(),
            },
        }
    }
}

/// The whole body, of which nothing is kept when it is too large.
async fn read_whole(source: &mut Incoming) -> State {
    let mut content = Vec::new();
    let mut length = 0;
    loop {
        match next_piece(source).await {
            None if length > MAX_BODY_BYTES => return State::TooLarge,
            None => return State::Whole(content),
            Some(Err(error)) => return State::Broken(error.to_string()),
            Some(Ok(piece)) => {
                length += piece.len();
                if length <= MAX_BODY_BYTES {
                    content.extend_from_slice(&piece);
                } else {
                    content = Vec::new();
                }
            }
        }
    }
}

/// All of a body that is known to be short.
pub async fn read_short(mut source: Incoming) -> Result<Vec<u8>, String> {
    match read_whole(&mut source).await {
        State::Whole(content) => Ok(content),
        State::Broken(reason) => Err(reason),
        _ => Err("The request body is longer than it said.".to_owned()),
    }
}

async fn next_piece(source: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match poll_fn(|task| Pin::new(&mut *source).poll_frame(task)).await? {
            Err(error) => return Some(Err(error)),
            Ok(frame) => {
                if let Ok(piece) = frame.into_data() {
                    return Some(Ok(piece));
                }
            }
        }
    }
}

/// The body as it comes.
pub struct BodyStream {
    source: Option<(Incoming, Handle)>,
    piece: Bytes,
}

impl Read for BodyStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some((source, handle)) = &mut self.source else {
                return Ok(0);
            };
            match handle.clone().block_on(next_piece(source)) {
                None => self.source = None,
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))
                }
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
