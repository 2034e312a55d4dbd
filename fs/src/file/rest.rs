//! Reading all that is left of a file.

use std::io::{self, SeekFrom};

use annulet_driver::Op;
use annulet_driver::buf::{BufResult, IoBufExt};
use annulet_driver::op::Read;
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::File;

/// Read at a time: a long copy out of the page cache is made by this thread, and others have a turn after it.
const ROUND: usize = 1 << 20;
/// What a buffer starts with if nothing is known of the size.
const FIRST: usize = 8 * 1024;
/// Room to read the end in, beyond the size that is known.
const END: usize = 32;

impl File {
    /// Reads from the cursor to the file's end, and puts it behind what is in the buffer. Tells how many bytes that
    /// were; the cursor is behind them then.
    ///
    /// Goes through the ring: reads (`IORING_OP_READ`, Linux 5.6) of a mebibyte, into a buffer that is made large
    /// enough for the file at first, where its size is known. It is several operations: for a limit of time use a
    /// timeout of the future's.
    ///
    /// # Errors
    ///
    /// As [`read_at`](File::read_at); `OutOfMemory` if there is not enough of it. What was read by then is in the buffer,
    /// and the cursor is behind it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the cursor is where it was, and only the buffer is lost. Of a file without a cursor (a
    /// FIFO, a terminal) what was read into the buffer is lost with it.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-rest-{}", std::process::id()));
    /// # std::fs::write(&path, "head and body")?;
    /// let file = runtime::fs::File::open(&path).await?;
    /// let (result, head) = file.read_exact([0; 4]).await;
    /// result?;
    /// let (result, all) = file.read_to_end(head.to_vec()).await;
    /// assert_eq!(result?, 9);
    /// assert_eq!(all, b"head and body");
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub async fn read_to_end(&self, buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        let before = buf.len();
        if !self.has_cursor() {
            let (result, buf) = self.append(buf, FIRST, None).await;
            return (result.map(|()| buf.len() - before), buf);
        }
        // At offsets, so that the cursor stays until all is read.
        let start = match self.stream_position().await {
            Ok(start) => start,
            Err(error) => return (Err(error), buf),
        };
        let room = match self.size().saturating_sub(start) {
            0 => FIRST,
            left => usize::try_from(left).unwrap_or(usize::MAX),
        };
        let (result, buf) = self
            .append(buf, room.saturating_add(END), Some(start))
            .await;
        let read = buf.len() - before;
        let moved = match read {
            0 => Ok(start),
            read => self.seek(SeekFrom::Start(start + read as u64)).await,
        };
        (result.and(moved).map(|_| read), buf)
    }

    /// As [`read_to_end`](File::read_to_end), for text.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8: the string is then as it was, and the cursor behind what was read.
    /// Otherwise as [`read_to_end`](File::read_to_end).
    pub async fn read_to_string(&self, buf: String) -> BufResult<usize, String> {
        let before = buf.len();
        let (result, mut bytes) = self.read_to_end(buf.into_bytes()).await;
        // The front is text: it came from a `String`.
        match str::from_utf8(&bytes[before..]) {
            Ok(_) => (result, text(bytes)),
            Err(_) => {
                bytes.truncate(before);
                let no_text = io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
                (result.and(Err(no_text)), text(bytes))
            }
        }
    }

    /// Appends all there is from `start` on, or from where the stream is.
    async fn append(
        &self,
        mut buf: Vec<u8>,
        room: usize,
        start: Option<u64>,
    ) -> BufResult<(), Vec<u8>> {
        let before = buf.len();
        let mut room = room;
        loop {
            if let Err(error) = buf.try_reserve(room) {
                return (Err(error.into()), buf);
            }
            while buf.len() < buf.capacity() {
                let end = buf.len();
                let part = buf.slice(end..end + ROUND);
                let read = match start {
                    Some(start) => Read::at(part, start + (end - before) as u64),
                    None => Read::new(part),
                };
                let (result, part) = Op::on(&self.fd, read).await;
                buf = part.into_inner();
                match result {
                    Ok(0) => return (Ok(()), buf),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buf),
                }
            }
            // At least twice as much as before: `try_reserve` sees to that.
            room = FIRST;
        }
    }

    /// The size as this machine knows it; 0 where it does not.
    fn size(&self) -> u64 {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let status = self
            .fd
            .with(|fd| Ok(statx(fd, "", flags, StatxFlags::SIZE)?));
        status.map_or(0, |status| status.stx_size)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("looked at before")
}
