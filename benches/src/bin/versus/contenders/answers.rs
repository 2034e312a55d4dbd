//! What the loops by hand do with what a connection received: the services as decisions, for those who have no tasks.

use super::Service;
use super::services::{ANSWER, Blocks, CHUNKS_A_BLOCK, Requests, pattern};

/// One connection's state: what it is to send, and what it has heard.
pub(super) struct Answers {
    service: Service,
    what: What,
    /// What of it is to be sent, and how often all of it once more.
    from: usize,
    to: usize,
    again: usize,
    blocks: Blocks,
    requests: Requests,
    over: bool,
}

#[derive(Clone, Copy)]
enum What {
    /// What was received, from the connection's own buffer.
    Received,
    /// The same bytes every time.
    Fixed(&'static [u8]),
}

/// Every byte, to be pointed at.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < bytes.len() {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

impl Answers {
    pub(super) fn new(service: Service) -> Answers {
        Answers {
            service,
            what: What::Received,
            from: 0,
            to: 0,
            again: 0,
            blocks: Blocks::default(),
            requests: Requests::default(),
            over: false,
        }
    }

    /// Decides about what was received.
    #[inline]
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        (self.from, self.to) = (0, bytes.len());
        if self.service != Service::Echo {
            self.decide(bytes);
        }
    }

    fn decide(&mut self, bytes: &[u8]) {
        let (what, times) = match self.service {
            Service::Echo => return,
            Service::Once => {
                self.over = true;
                return;
            }
            Service::Sink => match self.blocks.push(bytes) {
                Some(last) => (std::slice::from_ref(&BYTES[usize::from(last)]), 1),
                None => (&[][..], 0),
            },
            Service::Source => (pattern(), bytes.len() * CHUNKS_A_BLOCK),
            Service::Http => (ANSWER, self.requests.push(bytes)),
        };
        self.what = What::Fixed(what);
        self.to = if times == 0 { 0 } else { what.len() };
        self.again = times.saturating_sub(1);
    }

    /// What is to be sent before the next receive, given the buffer with what was received; empty: nothing.
    #[inline]
    pub(super) fn rest<'a>(&self, received: &'a [u8]) -> &'a [u8] {
        match self.what {
            What::Received => &received[self.from..self.to],
            What::Fixed(bytes) => &bytes[self.from..self.to],
        }
    }

    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        self.from < self.to
    }

    #[inline]
    pub(super) fn sent(&mut self, n: usize) {
        self.from += n;
        if self.from == self.to && self.again > 0 {
            (self.from, self.again) = (0, self.again - 1);
        }
    }

    /// Once nothing is to be sent any more: whether the server closes the connection.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::services::BLOCK;

    /// All that goes out for what came in, five bytes at a time.
    fn answer(answers: &mut Answers, received: &[u8]) -> Vec<u8> {
        answers.receive(received);
        let mut out = Vec::new();
        while answers.is_sending() {
            let rest = answers.rest(received);
            let now = rest.len().min(40_000);
            out.extend_from_slice(&rest[..now]);
            answers.sent(now);
        }
        out
    }

    #[test]
    fn what_goes_out_is_what_each_service_says() {
        let of = |service, received: &[u8]| answer(&mut Answers::new(service), received);
        assert_eq!(of(Service::Echo, b"echo"), b"echo");
        assert_eq!(of(Service::Once, b"once"), b"once");
        assert_eq!(of(Service::Sink, b"sink"), b"");
        assert_eq!(of(Service::Http, b"GET / HTTP/1.1\r\n"), b"");
        assert_eq!(of(Service::Http, b"\r\n\r\n\r\n\r\n"), ANSWER.repeat(2));
        let blocks = of(Service::Source, b"..");
        assert_eq!(blocks.len(), 2 * BLOCK);
        assert!(blocks.chunks(pattern().len()).all(|c| c == pattern()));
    }

    #[test]
    fn a_connection_that_is_used_once_is_over_after_its_answer() {
        let mut once = Answers::new(Service::Once);
        assert!(!once.is_over());
        answer(&mut once, b"a");
        assert!(once.is_over());
        let mut echo = Answers::new(Service::Echo);
        answer(&mut echo, b"a");
        assert!(!echo.is_over());
    }

    #[test]
    fn the_last_byte_of_a_block_is_sent() {
        let mut sink = Answers::new(Service::Sink);
        let chunk = vec![7; BLOCK / 2];
        assert_eq!(answer(&mut sink, &chunk), b"");
        assert_eq!(answer(&mut sink, &chunk), [7]);
    }
}
