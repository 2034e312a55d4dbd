//! What is asked: the head of a request.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::SystemTime;

use httparse::{EMPTY_HEADER, Header, Status};
use percent_encoding::percent_decode_str;

use crate::response::Code;

/// More headers than this nobody needs for a file.
const MAX_HEADERS: usize = 64;

/// A request for a file.
#[derive(Debug)]
pub(crate) struct Request {
    /// `HEAD`: all but the file itself.
    pub(crate) head_only: bool,
    /// As it was asked for, without the query.
    pub(crate) target: String,
    pub(crate) keep_alive: bool,
    pub(crate) range: Option<AskedRange>,
    pub(crate) if_modified_since: Option<SystemTime>,
    pub(crate) if_range: Option<String>,
}

/// A range as it is asked for, before the file's length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedRange {
    /// `bytes=7-`, `bytes=7-9`: the last one included.
    From(u64, Option<u64>),
    /// `bytes=-7`: so many at the end.
    Last(u64),
}

impl AskedRange {
    /// One range of bytes. Anything else, several ranges among it, may be answered by the whole file.
    fn parse(value: &str) -> Option<AskedRange> {
        let (first, last) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
        if first.is_empty() {
            return last.parse().ok().map(AskedRange::Last);
        }
        let first = first.parse().ok()?;
        if last.is_empty() {
            return Some(AskedRange::From(first, None));
        }
        let last = last.parse().ok().filter(|last| *last >= first)?;
        Some(AskedRange::From(first, Some(last)))
    }

    /// Where that is in a file of `len` bytes; `None` if it has no such bytes.
    pub(crate) fn within(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            AskedRange::From(first, None) => first..len,
            AskedRange::From(first, Some(last)) => first..last.saturating_add(1).min(len),
            AskedRange::Last(count) => len.saturating_sub(count)..len,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// What there is of a request.
pub(crate) enum Parsed {
    /// More bytes are needed.
    Partial,
    /// A request, and how many bytes it took.
    Whole(Request, usize),
    /// Nothing that can be served. The connection is at its end: nobody knows where the next request begins.
    Refused(Code),
}

/// Understands the head of a request at the front of `input`.
pub(crate) fn parse(input: &[u8]) -> Parsed {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(input) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Code::HeadTooLarge),
        Err(_) => return Parsed::Refused(Code::BadRequest),
    };
    let find = |name: &str| find(head.headers, name);
    let is_new = head.version == Some(1);
    let has_body =
        find("transfer-encoding").is_some() || find("content-length").is_some_and(|len| len != "0");
    if has_body || (is_new && find("host").is_none()) {
        return Parsed::Refused(Code::BadRequest);
    }
    let head_only = match head.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Parsed::Refused(Code::MethodNotAllowed),
    };
    let connection = find("connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = match is_new {
        true => !connection.contains("close"),
        false => connection.contains("keep-alive"),
    };
    let since = find("if-modified-since").and_then(|date| httpdate::parse_http_date(date).ok());
    let request = Request {
        head_only,
        target: path_of(head.path.unwrap_or("/")).to_owned(),
        keep_alive,
        range: find("range").and_then(AskedRange::parse),
        if_modified_since: since,
        if_range: find("if-range").map(str::to_owned),
    };
    Parsed::Whole(request, len)
}

fn find<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h str> {
    let header = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok()
}

/// The path of a request's target, which may be a whole address.
fn path_of(target: &str) -> &str {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

impl Request {
    /// The path within the directory. Where it leads is for the kernel to judge.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let path = percent_decode_str(self.target.strip_prefix('/')?);
        let path: Vec<u8> = path.collect();
        if path.contains(&0) {
            return None;
        }
        let path = if path.is_empty() { b".".to_vec() } else { path };
        Some(PathBuf::from(OsString::from_vec(path)))
    }
}
