use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::execution::Execution;
use crate::journal::Journal;

/// Bytes of a line that are kept: more than an entry keeps of it.
const MAX_LINE_BYTES: usize = 4 * 8000 + 8;

/// Takes what user code prints: file descriptor 1 becomes a pipe, and its lines become log entries of the one execution in
/// flight, or of none when there are several.
pub struct Capture {
    state: Mutex<State>,
}

struct State {
    printed: File,
    journal: Arc<Journal>,
    active: Vec<Arc<Execution>>,
    line: Vec<u8>,
    buffer: Vec<u8>,
}

/// Redirects file descriptor 1. Returns the end that is read, and the real stdout.
pub fn redirect_stdout() -> io::Result<(File, File)> {
    // SAFETY: plain system calls on descriptors that are made here.
    unsafe {
        let real = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        let mut pipe = [0; 2];
        if real < 0
            || libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) < 0
            || libc::dup2(pipe[1], 1) < 0
        {
            return Err(io::Error::last_os_error());
        }
        libc::close(pipe[1]);
        let flags = libc::fcntl(pipe[0], libc::F_GETFL);
        libc::fcntl(pipe[0], libc::F_SETFL, flags | libc::O_NONBLOCK);
        Ok((
            OwnedFd::from_raw_fd(pipe[0]).into(),
            OwnedFd::from_raw_fd(real).into(),
        ))
    }
}

impl Capture {
    pub fn new(printed: File, journal: Arc<Journal>) -> Capture {
        let state = State {
            printed,
            journal,
            active: Vec::new(),
            line: Vec::new(),
            buffer: vec![0; 16 * 1024],
        };
        Capture {
            state: Mutex::new(state),
        }
    }

    /// Takes what is printed as it comes, on a thread of its own.
    pub fn follow(self: &Arc<Capture>) {
        let capture = Arc::clone(self);
        let descriptor = capture.lock().printed.as_raw_fd();
        let _ = thread::Builder::new()
            .name("printed".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || loop {
                let mut poll = libc::pollfd {
                    fd: descriptor,
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one valid pollfd.
                unsafe { libc::poll(&mut poll, 1, -1) };
                capture.lock().drain();
            });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes what was printed before now, so that it stands before a log entry that is about to be written.
    pub fn settle(&self) {
        self.lock().drain();
    }

    pub fn begin(&self, execution: &Arc<Execution>) {
        let mut state = self.lock();
        if state.active.len() == 1 {
            state.drain();
        }
        state.active.push(Arc::clone(execution));
    }

    pub fn end(&self, execution: &Arc<Execution>) {
        // What has no end of line yet is still held by the standard library.
        let _ = io::stdout().flush();
        let mut state = self.lock();
        state.drain();
        if state.active.len() == 1 && !state.line.is_empty() {
            state.emit();
        }
        state.active.retain(|each| !Arc::ptr_eq(each, execution));
    }
}

impl State {
    fn drain(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok(length @ 1..) = (&self.printed).read(&mut buffer) {
            let mut rest = &buffer[..length];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.keep(&rest[..end]);
                self.emit();
                rest = &rest[end + 1..];
            }
            self.keep(rest);
        }
        self.buffer = buffer;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn emit(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        match self.active.as_slice() {
            [only] if only.silent => {}
            [only] => self.journal.write(Some(&only.id), "info", &text, None),
            _ => self.journal.write(None, "info", &text, None),
        }
    }
}
