//! The answer: its head, and the file behind it.

use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use futures_lite::future::zip;
use runtime::buf::IoBufExt;
use runtime::fs::File;
use runtime::net::TcpStream;
use runtime::time::timeout;

use crate::files::Served;
use crate::request::Request;

/// Bytes of a file that are read at once.
const CHUNK: usize = 128 * 1024;
/// A peer that takes nothing for this long is let go.
const STALLED: Duration = Duration::from_secs(30);

/// The answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Ok,
    PartialContent,
    MovedPermanently,
    NotModified,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RangeNotSatisfiable,
    HeadTooLarge,
    InternalError,
}

impl Code {
    fn line(self) -> &'static str {
        match self {
            Code::Ok => "200 OK",
            Code::PartialContent => "206 Partial Content",
            Code::MovedPermanently => "301 Moved Permanently",
            Code::NotModified => "304 Not Modified",
            Code::BadRequest => "400 Bad Request",
            Code::Forbidden => "403 Forbidden",
            Code::NotFound => "404 Not Found",
            Code::MethodNotAllowed => "405 Method Not Allowed",
            Code::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Code::HeadTooLarge => "431 Request Header Fields Too Large",
            Code::InternalError => "500 Internal Server Error",
        }
    }
}

/// The head of an answer, as it is written.
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn new(code: Code, keep_alive: bool) -> Head {
        let mut head = Head(format!("HTTP/1.1 {}\r\n", code.line()));
        head.add("Date", httpdate::fmt_http_date(SystemTime::now()));
        head.add(
            "Connection",
            if keep_alive { "keep-alive" } else { "close" },
        );
        head
    }

    pub(crate) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{name}: {value}\r\n");
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// Answers without a file, in a line of text; returns how many bytes that took.
pub(crate) async fn send_plain(
    stream: &TcpStream,
    code: Code,
    mut head: Head,
    head_only: bool,
) -> io::Result<u64> {
    let text = format!("{}\n", code.line());
    head.add("Content-Type", "text/plain; charset=utf-8");
    head.add("Content-Length", text.len());
    if code == Code::MethodNotAllowed {
        head.add("Allow", "GET, HEAD");
    }
    let mut answer = head.end();
    if !head_only {
        answer.extend_from_slice(text.as_bytes());
    }
    let len = answer.len() as u64;
    write_all(stream, answer).await?;
    Ok(len)
}

/// Answers with a file, or the part of it that was asked for; returns how many bytes that took.
pub(crate) async fn send_file(
    stream: &TcpStream,
    request: &Request,
    served: Served,
) -> io::Result<u64> {
    let modified = served.modified.map(httpdate::fmt_http_date);
    let mut code = Code::Ok;
    let mut range = 0..served.len;
    // A range of what has changed meanwhile is of no use.
    let asked = request.range.filter(|_| match &request.if_range {
        Some(date) => modified.as_ref() == Some(date),
        None => true,
    });
    let unchanged = is_unchanged(request.if_modified_since, served.modified);
    if let Some(asked) = asked.filter(|_| !unchanged) {
        code = Code::PartialContent;
        let Some(part) = asked.within(served.len) else {
            let code = Code::RangeNotSatisfiable;
            let mut head = Head::new(code, request.keep_alive);
            head.add("Content-Range", format_args!("bytes */{}", served.len));
            return send_plain(stream, code, head, request.head_only).await;
        };
        range = part;
    }
    if unchanged {
        code = Code::NotModified;
    }
    let mut head = Head::new(code, request.keep_alive);
    if let Some(modified) = modified {
        head.add("Last-Modified", modified);
    }
    if code == Code::PartialContent {
        let (first, last) = (range.start, range.end - 1);
        let part = format_args!("bytes {first}-{last}/{}", served.len);
        head.add("Content-Range", part);
    }
    if !unchanged {
        head.add("Accept-Ranges", "bytes");
        head.add("Content-Type", &served.kind);
        head.add("Content-Length", range.end - range.start);
    }
    let head = head.end();
    let len = head.len() as u64;
    if unchanged || request.head_only || range.is_empty() {
        write_all(stream, head).await?;
        return Ok(len);
    }
    let sent = range.end - range.start;
    send_range(stream, &served.file, head, range).await?;
    served.file.close().await?;
    Ok(len + sent)
}

/// Dates are in whole seconds.
fn is_unchanged(since: Option<SystemTime>, modified: Option<SystemTime>) -> bool {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    match (since.and_then(seconds), modified.and_then(seconds)) {
        (Some(since), Some(modified)) => modified.as_secs() <= since.as_secs(),
        _ => false,
    }
}

/// Sends `first` and then the bytes of the file. While one part is on its way the next is read.
async fn send_range(
    stream: &TcpStream,
    file: &File,
    first: Vec<u8>,
    range: Range<u64>,
) -> io::Result<()> {
    let Range { start: mut at, end } = range;
    let room = usize::try_from(end - at).map_or(CHUNK, |len| len.min(CHUNK));
    // What fits into one write goes with the head.
    let mut full = Vec::with_capacity(first.len() + room);
    full.extend_from_slice(&first);
    let mut spare = first;
    let begin = full.len();
    (at, full) = fill(file, full, begin, at, end).await?;
    while at < end {
        spare.clear();
        spare.reserve_exact(usize::try_from(end - at).map_or(CHUNK, |len| len.min(CHUNK)));
        let (sent, filled) = zip(write_all(stream, full), fill(file, spare, 0, at, end)).await;
        spare = sent?;
        (at, full) = filled?;
    }
    write_all(stream, full).await?;
    Ok(())
}

/// Reads from the file at `at` into the room behind the first `begin` bytes; tells where the next byte is.
async fn fill(
    file: &File,
    buf: Vec<u8>,
    begin: usize,
    at: u64,
    end: u64,
) -> io::Result<(u64, Vec<u8>)> {
    let limit = usize::try_from(end - at).unwrap_or(usize::MAX);
    let room = buf.slice(begin..begin.saturating_add(limit));
    let (result, part) = file.read_at(room, at).await;
    match result? {
        // The length has been told already.
        0 => Err(io::Error::other("the file was cut while it was sent")),
        n => Ok((at + n as u64, part.into_inner())),
    }
}

async fn write_all(stream: &TcpStream, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let (result, bytes) = timeout(STALLED, stream.write_all(bytes))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    result?;
    Ok(bytes)
}
