use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use serde_json::Value;

use crate::capture::Capture;
use crate::context::Context;
use crate::journal::Journal;
use crate::request_body::{BodyBroken, BodyTooLarge};
use crate::response::{finish, Finished, Outcome};

/// One call of the user's function.
pub struct Execution {
    pub id: String,
    pub silent: bool,
    pub journal: Arc<Journal>,
    pub capture: Arc<Capture>,
    pub ended: AtomicBool,
    pub cancelled: AtomicBool,
}

impl Execution {
    /// Writes an entry. What comes after the end belongs to no execution any more.
    pub fn log(&self, level: &str, text: &str, fields: Option<Value>) {
        if self.silent {
            return;
        }
        self.capture.settle();
        let id = (!self.ended.load(Ordering::Relaxed)).then_some(self.id.as_str());
        self.journal.write(id, level, text, fields.as_ref());
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What came of user code.
pub enum Result {
    Response(Finished),
    /// Text for the error log.
    Failed(String),
    TooLarge,
    /// The caller is gone: there is nobody to answer.
    Broken(String),
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static IN_USER_CODE: RefCell<bool> = const { RefCell::new(false) };
}

/// What a panic says, and where it was, goes to the log of its execution; that of a thread of user code to the log of none.
pub fn report_panics(journal: Arc<Journal>) {
    panic::set_hook(Box::new(move |information| {
        let text = information.to_string();
        if IN_USER_CODE.with(|inside| *inside.borrow()) {
            PANIC.with(|kept| *kept.borrow_mut() = text);
        } else {
            journal.write(None, "error", &text, None);
        }
    }));
}

/// Calls something of the user's, and gives what was thrown as text.
pub fn catch<T>(work: impl FnOnce() -> T) -> std::result::Result<T, Box<dyn Any + Send>> {
    IN_USER_CODE.with(|inside| *inside.borrow_mut() = true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IN_USER_CODE.with(|inside| *inside.borrow_mut() = false);
    result
}

/// Text of what was thrown.
pub fn describe(thrown: Box<dyn Any + Send>) -> String {
    let kept = PANIC.with(|kept| std::mem::take(&mut *kept.borrow_mut()));
    if !kept.is_empty() {
        return kept;
    }
    match thrown.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "The function panicked.".to_owned(),
    }
}

/// Calls the user's function.
pub fn run<F, R>(main: &F, context: Context) -> Result
where
    F: Fn(Context) -> R,
    R: Outcome,
{
    match catch(|| main(context).response().and_then(finish)) {
        Ok(Ok(finished)) => Result::Response(finished),
        Ok(Err(reason)) => Result::Failed(reason),
        Err(thrown) if thrown.is::<BodyTooLarge>() => Result::TooLarge,
        Err(thrown) => match thrown.downcast::<BodyBroken>() {
            Ok(broken) => Result::Broken(broken.0),
            Err(thrown) => Result::Failed(describe(thrown)),
        },
    }
}
