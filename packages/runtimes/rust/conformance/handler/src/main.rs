//! Does what the header x-action asks for (test/conformance/ACTIONS.md).

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

use treadle::{json, Body, Context, Response, Value};

pub fn main(context: Context) -> Response {
    let Context { req, res, logger } = &context;
    match req.header("x-action").unwrap_or_default() {
        "plainText" => res.text("Hello World 👋"),
        "json" => res.json(json!({ "json": true, "message": "Developers are awesome." })),
        "charset" => res.text("ok").header("content-type", "text/plain; charset=iso-8859-1"),
        "upperCaseType" => res.text("ok").header("content-type", "TEXT/HTML"),
        "multipart" => res.text("--x--").header("content-type", "multipart/form-data; boundary=12345"),
        "redirect" => res.redirect("https://example.com/there"),
        "empty" => res.empty(),
        "binary" => res.binary([0, 10, 255]),
        "noResponse" => Response::default(),
        "double" => {
            res.text("This should be ignored.");
            res.text("This should be returned.")
        }
        "headers" => res
            .text("OK")
            .header("first-header", "first-value")
            .header("second-header", req.header("x-open-runtimes-custom-in-header").unwrap_or("missing"))
            .header("third-header", req.header("cookie").unwrap_or("missing"))
            .header("x-open-runtimes-custom-out-header", "third-value"),
        "setCookie" => res.text("OK").header("set-cookie", "a=1; Path=/").header("set-cookie", "b=2; HttpOnly"),
        "status" => res.text("status").status(number(&context, "x-status") as u16),
        "method" => res.text(&*req.method),
        "url" => res.json(json!({
            "url": req.url, "port": req.port, "path": req.path, "query": req.query,
            "queryString": req.query_string, "scheme": req.scheme, "host": req.host,
        })),
        "requestHeaders" => res.json(&req.headers),
        "bodyText" => res.text(req.body_text()),
        "bodyJson" => res.json(req.body_json::<Value>().unwrap()),
        "body" => match req.body().unwrap() {
            Body::Json(body) => res.json(json!({ "kind": "object", "body": body })),
            Body::Text(body) => res.json(json!({ "kind": "text", "body": body })),
        },
        "bodyBinary" => res.binary(req.body_binary()),
        "environment" => res.json(json!({
            "given": env::var("CUSTOM_ENV_VAR").ok(),
            "missing": env::var("NOT_DEFINED_VAR").ok(),
            "secret": env::var("OPEN_RUNTIMES_SECRET").ok(),
        })),
        "log" => {
            context.log("Debug Log");
            context.error("Error Log");
            context.log("A 42 true");
            context.log(json!({ "object": true }));
            println!("Native Log");
            res.text("")
        }
        "longLog" => {
            context.log("a".repeat(9000));
            res.text("")
        }
        "structuredLog" => {
            logger.warn("structured", json!({ "key": "value" }));
            res.text("")
        }
        "exception" => {
            context.log("before");
            panic!("Custom error message");
        }
        "sleep" => {
            sleep(Duration::from_millis(number(&context, "x-ms")));
            res.text("slept")
        }
        "concurrentLog" => {
            let id = req.header("x-id").unwrap_or_default();
            for round in 0..3 {
                context.log(id);
                if round == 1 {
                    println!("native {id}");
                }
                sleep(Duration::from_millis(20));
            }
            res.text(id)
        }
        "stream" => res
            .stream(|pieces| {
                for (index, text) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
                    if index > 0 {
                        sleep(Duration::from_millis(200));
                    }
                    pieces.write_all(text.as_bytes())?;
                }
                Ok(())
            })
            .status(201)
            .header("x-streamed", "yes"),
        "streamLarge" => {
            let mut left = number(&context, "x-size") as usize;
            res.stream(move |pieces| {
                let piece = vec![b'a'; 64 * 1024];
                while left > 0 {
                    let length = left.min(piece.len());
                    pieces.write_all(&piece[..length])?;
                    left -= length;
                }
                Ok(())
            })
        }
        "streamError" => res.stream(|pieces| {
            pieces.write_all(b"one\n")?;
            Err(io::Error::other("the source failed"))
        }),
        "echoStream" => res.stream_from(req.body_stream()),
        "large" => res.binary(vec![b'a'; number(&context, "x-size") as usize]),
        "file" => res.text(fs::read_to_string("data.txt").unwrap()),
        _ => res.text("Unknown action").status(404),
    }
}

fn number(context: &Context, header: &str) -> u64 {
    context.req.header(header).and_then(|value| value.parse().ok()).unwrap()
}
