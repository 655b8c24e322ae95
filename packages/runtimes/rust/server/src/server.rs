use std::fs;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName, HeaderValue, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout_at, Instant};

use crate::capture::{redirect_stdout, Capture};
use crate::context::{Context, Logger};
use crate::execution::{catch, describe, report_panics, run, Execution, Result as UserResult};
use crate::journal::Journal;
use crate::request::Request;
use crate::request_body::{read_short, RequestBody};
use crate::response::{Content, Finished, Outcome, PieceWriter, Responder};
use crate::settings::Settings;

const MAX_TIMEOUT_SECONDS: u64 = 2_147_483;
const TIMINGS_FILE: &str = "/mnt/telemetry/timings.txt";
/// Executions at a time; further ones wait. Each has a thread.
const MAX_THREADS: usize = 128;
/// Bodies up to this length are there before user code is called.
const SHORT_BODY_BYTES: u64 = 64 * 1024;
/// Pieces of a stream that wait for the caller to read.
const WAITING_PIECES: usize = 4;
const TIMED_OUT: &str = "Execution timed out.";

struct Server<F> {
    main: F,
    settings: Settings,
    journal: Arc<Journal>,
    capture: Arc<Capture>,
    handle: Handle,
    under_way: Arc<AtomicUsize>,
}

/// Runs the server until it is told to stop. Called by the program that the build makes, not by functions.
pub fn serve<F, R>(main: F)
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
{
    if let Err(error) = start(main) {
        eprintln!("The server could not start: {error}");
        exit(1);
    }
}

fn start<F, R>(main: F) -> io::Result<()>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
{
    let (settings, problem) = Settings::read();
    if settings.code.is_dir() {
        std::env::set_current_dir(&settings.code)?;
    }
    let (printed, stdout) = redirect_stdout()?;
    let journal = Arc::new(Journal::new(stdout, settings.log_folder.clone()));
    if let Some(problem) = problem {
        journal.write(None, "error", &problem, None);
    }
    report_panics(Arc::clone(&journal));
    let capture = Arc::new(Capture::new(printed, Arc::clone(&journal)));
    capture.follow();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_THREADS)
        .build()?;
    runtime.block_on(async {
        let under_way = Arc::new(AtomicUsize::new(0));
        let server = Arc::new(Server {
            main,
            settings,
            journal,
            capture,
            handle: Handle::current(),
            under_way,
        });
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let mut signals = signal(kind)?;
            let under_way = Arc::clone(&server.under_way);
            tokio::spawn(async move {
                signals.recv().await;
                while under_way.load(Ordering::Relaxed) > 0 {
                    sleep(Duration::from_millis(10)).await;
                }
                // What was answered last is still to be sent.
                sleep(Duration::from_millis(20)).await;
                exit(0);
            });
        }
        listen(server).await
    })
}

async fn listen<F, R>(server: Arc<Server<F>>) -> io::Result<()>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
{
    const READY: &str = "HTTP server successfully started!";
    if let Some(path) = &server.settings.socket {
        if fs::symlink_metadata(path).is_ok_and(|status| status.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        server.journal.say(READY);
        loop {
            match listener.accept().await {
                Ok((connection, _)) => hold(Arc::clone(&server), connection),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
    let listener = TcpListener::bind(("0.0.0.0", server.settings.port)).await?;
    server.journal.say(READY);
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                let _ = connection.set_nodelay(true);
                hold(Arc::clone(&server), connection);
            }
            // Too many open files: it passes.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves one connection, on a task of its own.
fn hold<F, R, C>(server: Arc<Server<F>>, connection: C)
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let service = service_fn(move |request| answer(Arc::clone(&server), request));
        // A connection that breaks is the caller's matter.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(connection), service)
            .await;
    });
}

type Answer = hyper::Response<Payload>;

async fn answer<F, R>(
    server: Arc<Server<F>>,
    request: hyper::Request<Incoming>,
) -> Result<Answer, io::Error>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
{
    if request.uri().query().is_none() {
        match request.uri().path() {
            "/__opr/health" => return Ok(plain_text(200, "OK")),
            "/__opr/timings" => {
                let mut timings = fs::read_to_string(TIMINGS_FILE).unwrap_or_default();
                if !timings.is_empty() && !timings.ends_with('\n') {
                    timings.push('\n');
                }
                return Ok(plain_text(200, &(timings + "load=0.000\n")));
            }
            _ => {}
        }
    }
    match Control::read(request.headers(), &server.settings) {
        // Code that is compiled in has loaded.
        Ok(_) if request.uri() == "/__opr/load" => Ok(plain_text(200, "OK")),
        Ok(control) => execute(server, request, control).await,
        Err(refusal) => {
            let mut body = request.into_body();
            tokio::spawn(async move {
                while let Some(Ok(_)) =
                    std::future::poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await
                {
                }
            });
            Ok(plain_text(500, refusal))
        }
    }
}

/// What the caller's own headers say.
struct Control {
    id: String,
    timeout: Option<Duration>,
    logging: bool,
}

impl Control {
    fn read(headers: &HeaderMap, settings: &Settings) -> Result<Control, &'static str> {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| value.as_bytes())
                .unwrap_or_default()
        };
        if !settings.secret.is_empty()
            && !is_equal(text("x-open-runtimes-secret"), settings.secret.as_bytes())
        {
            return Err("Unauthorized. Provide correct \"x-open-runtimes-secret\" header.");
        }
        let timeout = match text("x-open-runtimes-timeout") {
            b"" => 0,
            digits if digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit) => digits
                .iter()
                .fold(0, |value, digit| value * 10 + u64::from(digit - b'0')),
            _ => 0,
        };
        if timeout == 0 && !text("x-open-runtimes-timeout").is_empty()
            || timeout > MAX_TIMEOUT_SECONDS
        {
            return Err("Header \"x-open-runtimes-timeout\" must be an integer greater than 0.");
        }
        let timeout = Some(timeout)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        let logging = match text("x-open-runtimes-logging") {
            b"" | b"enabled" => true,
            b"disabled" => false,
            _ => return Err(
                "Header \"x-open-runtimes-logging\" must be either \"enabled\" or \"disabled\".",
            ),
        };
        let asked = text("x-open-runtimes-log-id");
        let is_id = (1..=64).contains(&asked.len())
            && asked
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let id = match is_id {
            true => String::from_utf8_lossy(asked).into_owned(),
            false if settings.development => "dev".to_owned(),
            false => new_log_id(),
        };
        Ok(Control {
            id,
            timeout,
            logging,
        })
    }
}

/// Equal, in a time that does not tell where they differ.
fn is_equal(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = usize::from(given.len() != secret.len());
    for (index, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ secret[index % secret.len()]);
    }
    black_box(difference) == 0
}

/// 20 characters that name the log of one execution.
fn new_log_id() -> String {
    let mut bytes = [0u8; 20];
    // SAFETY: the buffer is as long as said. Whatever the call leaves in it makes an id.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    bytes
        .iter()
        .map(|byte| char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(byte & 31)]))
        .collect()
}

/// What a thread of user code has to answer.
enum Reply {
    Whole(Finished),
    Pieces(Finished, mpsc::Receiver<Result<Bytes, io::Error>>),
    Failed,
    TooLarge,
    Broken,
}

async fn execute<F, R>(
    server: Arc<Server<F>>,
    request: hyper::Request<Incoming>,
    control: Control,
) -> Result<Answer, io::Error>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Outcome,
{
    let deadline = control
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    let execution = Arc::new(Execution {
        id: control.id.clone(),
        silent: !control.logging,
        journal: Arc::clone(&server.journal),
        capture: Arc::clone(&server.capture),
        ended: AtomicBool::new(false),
        cancelled: AtomicBool::new(false),
    });
    let watch = Watch::new(Arc::clone(&execution), Arc::clone(&server.under_way));
    let (parts, incoming) = request.into_parts();
    let body = if incoming
        .size_hint()
        .exact()
        .is_some_and(|length| length <= SHORT_BODY_BYTES)
    {
        RequestBody::here(read_short(incoming).await.map_err(io::Error::other)?)
    } else {
        RequestBody::coming(incoming, server.handle.clone())
    };
    let request = Request::new(&parts, &server.settings.enforced, body.clone());
    let (sender, receiver) = oneshot::channel();
    let working = Arc::clone(&execution);
    let threads = Arc::clone(&server);
    drop(spawn_blocking(move || {
        threads.capture.begin(&working);
        work(&threads.main, working, request, body, deadline, sender);
    }));
    let reply = match deadline {
        None => receiver.await,
        Some(deadline) => match timeout_at(deadline, receiver).await {
            Ok(reply) => reply,
            Err(_) => {
                execution.log("error", TIMED_OUT, None);
                finish_execution(&execution);
                return Ok(failure(&control, watch));
            }
        },
    };
    Ok(match reply {
        Ok(Reply::Whole(Finished {
            status,
            headers,
            content: Content::Whole(bytes),
        })) => head(
            &control,
            status,
            headers,
            Payload {
                kind: Kind::Whole(bytes.into()),
                watch: Some(watch.done()),
            },
        ),
        Ok(Reply::Pieces(
            Finished {
                status, headers, ..
            },
            pieces,
        )) => head(
            &control,
            status,
            headers,
            Payload {
                kind: Kind::Pieces(pieces),
                watch: Some(watch),
            },
        ),
        Ok(Reply::TooLarge) => plain_text(413, "The request body is larger than 20 MiB."),
        Ok(Reply::Broken) => return Err(io::Error::other("The caller went away.")),
        _ => failure(&control, watch),
    })
}

/// On a thread of its own: user code, and the source of its stream.
fn work<F, R>(
    main: &F,
    execution: Arc<Execution>,
    request: Request,
    body: RequestBody,
    deadline: Option<Instant>,
    reply: oneshot::Sender<Reply>,
) where
    F: Fn(Context) -> R,
    R: Outcome,
{
    let logger = Logger {
        execution: Arc::clone(&execution),
    };
    let mut result = run(
        main,
        Context {
            req: request,
            res: Responder,
            logger,
        },
    );
    if body.is_too_large() {
        result = UserResult::TooLarge;
    }
    let answer = match result {
        UserResult::Response(finished) if matches!(finished.content, Content::Pieces(_)) => {
            return stream(execution, finished, deadline, reply);
        }
        UserResult::Response(finished) => Reply::Whole(finished),
        UserResult::TooLarge => Reply::TooLarge,
        UserResult::Failed(reason) => {
            execution.log("error", &reason, None);
            Reply::Failed
        }
        UserResult::Broken(reason) => {
            execution.log(
                "error",
                &format!("The request body broke off: {reason}"),
                None,
            );
            Reply::Broken
        }
    };
    // The log is whole when the answer goes out.
    finish_execution(&execution);
    let _ = reply.send(answer);
}

fn stream(
    execution: Arc<Execution>,
    finished: Finished,
    deadline: Option<Instant>,
    reply: oneshot::Sender<Reply>,
) {
    let Finished {
        status,
        headers,
        content: Content::Pieces(source),
    } = finished
    else {
        return;
    };
    let (pieces, receiver) = mpsc::channel(WAITING_PIECES);
    let mut writer = PieceWriter {
        pieces: pieces.clone(),
        deadline: deadline.map(Instant::into_std),
    };
    let head = Finished {
        status,
        headers,
        content: Content::Whole(Vec::new()),
    };
    let error = if reply.send(Reply::Pieces(head, receiver)).is_ok() {
        match catch(move || source(&mut writer)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(thrown) => Some(io::Error::other(describe(thrown))),
        }
    } else {
        None
    };
    if let Some(error) = error {
        if !execution.is_cancelled() {
            execution.log("error", &error.to_string(), None);
        }
        finish_execution(&execution);
        let _ = pieces.blocking_send(Err(error));
    } else {
        finish_execution(&execution);
    }
}

fn finish_execution(execution: &Arc<Execution>) {
    execution.capture.end(execution);
    execution.ended.store(true, Ordering::Relaxed);
}

fn failure(control: &Control, watch: Watch) -> Answer {
    let content_type = (
        "content-type".to_owned(),
        "text/plain; charset=utf-8".to_owned(),
    );
    head(
        control,
        500,
        vec![content_type],
        Payload {
            kind: Kind::Whole(Bytes::new()),
            watch: Some(watch),
        },
    )
}

fn head(
    control: &Control,
    status: u16,
    headers: Vec<(String, String)>,
    payload: Payload,
) -> Answer {
    let build = || -> Result<HeaderMap, String> {
        let mut map = HeaderMap::with_capacity(headers.len() + 1);
        for (name, value) in &headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("\"{name}\" cannot be the name of a header."))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                format!(
                    "The header \"{name}\" has a value with characters that headers cannot have."
                )
            })?;
            map.append(name, value);
        }
        let id = if control.logging {
            control.id.as_str()
        } else {
            ""
        };
        map.insert(
            "x-open-runtimes-log-id",
            HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("")),
        );
        Ok(map)
    };
    match build() {
        Ok(map) => {
            let mut answer = hyper::Response::new(payload);
            *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
            *answer.headers_mut() = map;
            answer
        }
        Err(reason) => {
            if let Some(watch) = &payload.watch {
                watch.execution.journal.write(
                    Some(&control.id)
                        .filter(|_| control.logging)
                        .map(String::as_str),
                    "error",
                    &reason,
                    None,
                );
            }
            plain_text(500, "")
        }
    }
}

fn plain_text(status: u16, text: &str) -> Answer {
    let mut answer = hyper::Response::new(Payload {
        kind: Kind::Whole(Bytes::copy_from_slice(text.as_bytes())),
        watch: None,
    });
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// Counts an execution as under way, and tells it when the caller is gone before the answer is.
struct Watch {
    execution: Arc<Execution>,
    under_way: Arc<AtomicUsize>,
    done: bool,
}

impl Watch {
    fn new(execution: Arc<Execution>, under_way: Arc<AtomicUsize>) -> Watch {
        under_way.fetch_add(1, Ordering::Relaxed);
        Watch {
            execution,
            under_way,
            done: false,
        }
    }

    fn done(mut self) -> Watch {
        self.done = true;
        self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.done {
            self.execution.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of an answer.
struct Payload {
    kind: Kind,
    watch: Option<Watch>,
}

enum Kind {
    Whole(Bytes),
    Pieces(mpsc::Receiver<Result<Bytes, io::Error>>),
    /// What was sent before is still to be flushed: an error ends the connection at once.
    Ending(Option<io::Error>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Pieces(pieces) => pieces
                .poll_recv(task)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Kind::Ending(error) => return Poll::Ready(error.take().map(Err)),
        };
        if let Poll::Ready(Some(Err(error))) = polled {
            self.kind = Kind::Ending(Some(error));
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let (Poll::Ready(None), Some(watch)) = (&polled, &mut self.watch) {
            watch.done = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
