//! HTTP/1.1: every connection asks, awaits the whole answer, asks again.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::crowd::{Client, Crowd, Lap, Turn, receive, send, wrong};
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::contenders::services::BODY;
use crate::meter::Meter;

pub(super) const WORKLOAD: Workload = Workload {
    name: "http",
    about: "GET requests on each of --connections, answered with `Hello, World!`",
    connections: 64,
    size: 4096,
    kind: Kind::Served {
        service: Service::Http,
        load,
    },
    cost: Cost::Cpu,
};

const REQUEST: &[u8] =
    b"GET /hello HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: versus\r\n\r\n";

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut crowd = Crowd::connect(plan, |_| Exchange {
        answer: Vec::with_capacity(1024),
        asked: None,
    })?;
    meter.run(|duration, latencies| crowd.lap(duration, latencies))
}

struct Exchange {
    /// What has come of the answer.
    answer: Vec<u8>,
    asked: Option<Instant>,
}

impl Exchange {
    fn ask(&mut self, socket: &TcpStream, now: Instant) -> io::Result<()> {
        self.asked = Some(now);
        // The connection is idle, so there is room for all of it.
        match send(socket, REQUEST)? == REQUEST.len() {
            true => Ok(()),
            false => Err(io::Error::other("the socket does not take a request")),
        }
    }
}

impl Client for Exchange {
    fn begin(&mut self, socket: &TcpStream) -> io::Result<Turn> {
        self.ask(socket, Instant::now())?;
        Ok(Turn::Wait)
    }

    fn go_on(
        &mut self,
        socket: &TcpStream,
        scratch: &mut [u8],
        lap: &mut Lap<'_>,
    ) -> io::Result<Turn> {
        while let Some(since) = self.asked {
            let Some(bytes) = receive(socket, scratch)? else {
                break;
            };
            self.answer.extend_from_slice(bytes);
            if !is_whole(&self.answer)? {
                continue;
            }
            self.answer.clear();
            self.asked = None;
            let now = Instant::now();
            if lap.answered(since, now) {
                self.ask(socket, now)?;
            }
        }
        Ok(Turn::Wait)
    }

    fn is_idle(&self) -> bool {
        self.asked.is_none()
    }
}

/// Whether all of the answer is there.
///
/// # Errors
///
/// If it is not the answer it should be.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let (head, body) = (&answer[..end + 2], &answer[end + 4..]);
    let head = std::str::from_utf8(head).map_err(|_| wrong())?;
    let mut lines = head.split_terminator("\r\n");
    if lines.next() != Some("HTTP/1.1 200 OK") {
        return Err(wrong());
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>())
    });
    if length != Some(Ok(BODY.len())) || !BODY.as_bytes().starts_with(body) {
        return Err(wrong());
    }
    Ok(body.len() == BODY.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_is_taken_and_only_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\ndate: now\r\n\r\nHello, World!";
        for end in 0..answer.len() {
            assert!(!is_whole(&answer[..end]).unwrap(), "{end}");
        }
        assert!(is_whole(answer).unwrap());
        for wrong in [
            "HTTP/1.1 500 No\r\ncontent-length: 13\r\n\r\nHello, World!",
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nHello, World",
            "HTTP/1.1 200 OK\r\n\r\nHello, World!",
            "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, Worle",
        ] {
            assert!(is_whole(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
