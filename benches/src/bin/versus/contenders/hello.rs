//! HTTP/1.1 by hyper, for all runtimes that can host it.

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use super::services::BODY;

/// Answers one connection's requests until it ends.
pub(super) async fn serve(stream: impl Read + Write + Unpin) -> io::Result<()> {
    let connection = http1::Builder::new().serve_connection(stream, service_fn(hello));
    connection.await.map_err(io::Error::other)
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = Bytes::from_static(BODY.as_bytes());
    Ok(Response::new(Full::new(body)))
}
