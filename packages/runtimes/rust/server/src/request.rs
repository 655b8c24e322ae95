use std::collections::BTreeMap;

use hyper::header::HOST;
use hyper::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};

use crate::request_body::{BodyStream, RequestBody};
use crate::settings::CONTROL_PREFIX;

/// What the function is asked: `req` of Open Runtimes v5.
pub struct Request {
    pub method: String,
    /// Scheme, host, port unless it is the scheme's own, path and query.
    pub url: String,
    pub scheme: String,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub query_string: String,
    /// Undecoded: `a=b&c==d&k` is `{a: "b", c: "=d", k: ""}`.
    pub query: BTreeMap<String, String>,
    /// Names in lower case; several of one name are joined with `, `.
    pub headers: BTreeMap<String, String>,
    pub(crate) body: RequestBody,
}

/// The body as its content type says.
pub enum Body {
    Json(Value),
    Text(String),
}

impl Request {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The whole body.
    pub fn body_binary(&self) -> Vec<u8> {
        self.body.whole()
    }

    /// The whole body as text; what is no UTF-8 becomes the replacement character.
    pub fn body_text(&self) -> String {
        match String::from_utf8(self.body.whole()) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// The body, whatever its content type says, read as JSON into any type that serde can read.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body.whole())
            .map_err(|error| format!("The request body is not valid JSON: {error}"))
    }

    /// What JSON holds when the content type is application/json (an empty object for an empty body), else text.
    pub fn body(&self) -> Result<Body, String> {
        let content_type = self
            .header("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !content_type.starts_with("application/json") {
            return Ok(Body::Text(self.body_text()));
        }
        if self.body.whole().is_empty() {
            return Ok(Body::Json(json!({})));
        }
        self.body_json().map(Body::Json)
    }

    /// The body as it comes, of any length. Use it before, and instead of, the other forms of the body.
    pub fn body_stream(&self) -> BodyStream {
        self.body.stream()
    }

    pub(crate) fn new(parts: &Parts, enforced: &[(String, String)], body: RequestBody) -> Request {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &parts.headers {
            if name.as_str().starts_with(CONTROL_PREFIX) {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes());
            match headers.get_mut(name.as_str()) {
                Some(given) => {
                    given.push_str(", ");
                    given.push_str(&value);
                }
                None => {
                    headers.insert(name.as_str().to_owned(), value.into_owned());
                }
            }
        }
        for (name, value) in enforced {
            headers.insert(name.clone(), value.clone());
        }
        let text = |name: &str| headers.get(name).filter(|value| !value.is_empty()).cloned();
        let scheme = match parts.uri.scheme_str() {
            Some(scheme) => scheme.to_ascii_lowercase(),
            None => text("x-forwarded-proto").unwrap_or_else(|| "http".to_owned()),
        };
        let authority = match parts.uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => text(HOST.as_str()).unwrap_or_else(|| "localhost".to_owned()),
        };
        let path = match parts.uri.path() {
            "" => "/",
            path => path,
        };
        let query_string = parts.uri.query().unwrap_or_default();
        let usual = if scheme == "https" { 443 } else { 80 };
        let (host, port) = split_port(&authority, usual);
        let mut url = format!("{scheme}://{host}");
        if port != usual {
            url.push_str(&format!(":{port}"));
        }
        url.push_str(path);
        if !query_string.is_empty() {
            url.push('?');
            url.push_str(query_string);
        }
        Request {
            method: parts.method.as_str().to_owned(),
            url,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            query: parse_query(query_string),
            query_string: query_string.to_owned(),
            scheme,
            headers,
            body,
        }
    }
}

/// Host and port; an IPv6 address has colons within brackets.
fn split_port(authority: &str, usual: u16) -> (&str, u16) {
    match authority.rfind(':') {
        Some(colon) if authority.rfind(']').is_none_or(|bracket| bracket < colon) => (
            &authority[..colon],
            authority[colon + 1..]
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .unwrap_or(usual),
        ),
        _ => (authority, usual),
    }
}

fn parse_query(text: &str) -> BTreeMap<String, String> {
    let mut query = BTreeMap::new();
    for part in text.split('&') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if !key.is_empty() {
            query.insert(key.to_owned(), value.to_owned());
        }
    }
    query
}
