//! What all servers of a [`Service`](super::Service) share: what they send, and where their answers are due. None of it
//! does input or output.

use std::sync::LazyLock;

/// Bytes of a block, the unit of streaming.
pub(crate) const BLOCK: usize = 1 << 20;
/// Bytes that a server hands over at once when it sends blocks.
pub(crate) const CHUNK: usize = 1 << 16;
pub(super) const CHUNKS_A_BLOCK: usize = BLOCK / CHUNK;

/// What every chunk of a block consists of.
static PATTERN: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let words = 0..CHUNK as u64 / 8;
    // An odd factor: different places, different words.
    words
        .flat_map(|place| {
            (place + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes()
        })
        .collect()
});

pub(crate) fn pattern() -> &'static [u8] {
    &PATTERN
}

/// Where in its block a received stream is.
#[derive(Default)]
pub(crate) struct Blocks {
    within: usize,
}

impl Blocks {
    /// Takes note of what was received, no more than a block of it; if that completes a block: its last byte.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<u8> {
        let before = self.within;
        self.within = (before + bytes.len()) % BLOCK;
        (before + bytes.len() >= BLOCK).then(|| bytes[BLOCK - before - 1])
    }
}

pub(crate) const BODY: &str = "Hello, World!";

/// The HTTP of those who have nothing but a loop: requests end with an empty line, whatever is in them, and all answers
/// are this one. No header is looked at, and there is no `Date`.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, World!";

/// How much of the empty line at the end of a request has come.
#[derive(Default)]
pub(super) struct Requests {
    matched: usize,
}

impl Requests {
    /// How many requests end in what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8] = b"\r\n\r\n";
        let mut ended = 0;
        for byte in bytes {
            self.matched = match *byte {
                byte if byte == END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == END.len() {
                self.matched = 0;
                ended += 1;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_answered_with_its_last_byte_wherever_reads_end() {
        let stream: Vec<u8> = (0..3 * BLOCK).map(|place| (place % 251) as u8).collect();
        for step in [1000, 4096, CHUNK, CHUNK + 1] {
            let mut blocks = Blocks::default();
            let answers: Vec<u8> = stream.chunks(step).filter_map(|c| blocks.push(c)).collect();
            let expected = [BLOCK, 2 * BLOCK, 3 * BLOCK].map(|end| stream[end - 1]);
            assert_eq!(answers, expected, "{step}");
        }
    }

    #[test]
    fn requests_are_counted_wherever_reads_end() {
        let two = b"GET / HTTP/1.1\r\na: b\r\n\r\nGET / HTTP/1.1\r\n\r\r\n\r\n";
        for step in 1..two.len() {
            let mut requests = Requests::default();
            let ended: usize = two.chunks(step).map(|c| requests.push(c)).sum();
            assert_eq!(ended, 2, "{step}");
        }
    }

    #[test]
    fn the_answer_says_how_long_its_body_is() {
        let answer = std::str::from_utf8(ANSWER).unwrap();
        assert!(answer.ends_with(BODY));
        assert!(answer.contains(&format!("content-length: {}\r\n", BODY.len())));
    }
}
