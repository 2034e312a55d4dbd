//! Reading many blocks of a file: several in flight at a time, handed out in order.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::iter::Fuse;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use annulet_driver::op::Read;
use annulet_driver::{BufResult, IoBufExt, IoBufMut, Op};

use super::File;

impl File {
    /// Reads a block at each of `offsets` and hands them out in that order, reading ahead: as many reads are in flight at
    /// a time as there are `buffers`. These are used again and again; a block is as long as its buffer has room (all of a
    /// `Vec`'s capacity), shorter where the file ends, empty beyond.
    ///
    /// So a database reads a list of pages, and a copy `(0..len).step_by(block)`. From a disk, more in flight is faster
    /// until it has enough to do (32 of 4 KiB, 4 of 1 MiB are a beginning); more than that only takes memory. Buffers of an
    /// [`Arena`](annulet_driver::buf::Arena) make it cheaper yet.
    ///
    /// Nothing is read before the first [`next`](ReadMany::next). Goes through the ring: `IORING_OP_READ`, Linux 5.6.
    ///
    /// # Panics
    ///
    /// If there is no buffer.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-read-many-{}", std::process::id()));
    /// # std::fs::write(&path, "one two three")?;
    /// let file = runtime::fs::File::open(&path).await?;
    /// let buffers = [vec![0; 4], vec![0; 4]];
    /// let mut blocks = file.read_many([8, 0, 4, 12], buffers);
    /// let mut text = Vec::new();
    /// while let Some(block) = blocks.next().await {
    ///     text.extend_from_slice(&block?);
    /// }
    /// assert_eq!(text, b"threone two e");
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn read_many<I, B>(
        &self,
        offsets: I,
        buffers: impl IntoIterator<Item = B>,
    ) -> ReadMany<'_, I::IntoIter, B>
    where
        I: IntoIterator<Item = u64>,
        B: IoBufMut,
    {
        let free: Vec<B> = buffers.into_iter().collect();
        assert!(
            !free.is_empty(),
            "read_many was given no buffer to read into"
        );
        ReadMany {
            file: self,
            offsets: offsets.into_iter().fuse(),
            begun: VecDeque::with_capacity(free.len()),
            free,
        }
    }
}

/// Blocks being read; made by [`File::read_many`].
#[must_use = "nothing is read until `next` is awaited"]
pub struct ReadMany<'f, I, B: IoBufMut> {
    file: &'f File,
    offsets: Fuse<I>,
    /// In the order of their offsets.
    begun: VecDeque<Begun<B>>,
    free: Vec<B>,
}

struct Begun<B: IoBufMut> {
    offset: u64,
    read: Op<Read<B>>,
    /// It was done as it began.
    done: Option<BufResult<usize, B>>,
}

impl<I: Iterator<Item = u64>, B: IoBufMut> ReadMany<'_, I, B> {
    /// The next block, in the order of the offsets; `None` after the last one. First it begins as many reads as there are
    /// buffers free, among them that of the block that was handed out last.
    ///
    /// # Errors
    ///
    /// Those of [`read_at`](File::read_at), in the place of the block that could not be read. The blocks after it follow.
    /// `Other` for each block that there is no buffer for, as all were forgotten (`mem::forget`) with theirs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next one goes on. Dropping the [`ReadMany`] cancels what is in flight, with
    /// the buffers.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn next(&mut self) -> Option<io::Result<Block<'_, B>>> {
        let Some((offset, (read, buf))) = poll_fn(|cx| self.poll_first(cx)).await else {
            let left = self.offsets.next();
            return left.map(|_| {
                Err(io::Error::other(
                    "no buffer is left: its block was forgotten",
                ))
            });
        };
        let free = &mut self.free;
        Some(match read {
            Ok(len) => Ok(Block {
                offset,
                len,
                buf: Some(buf),
                free,
            }),
            Err(error) => {
                free.push(buf);
                Err(error)
            }
        })
    }

    /// How many reads are in flight, or done before their turn.
    pub fn in_flight(&self) -> usize {
        self.begun.len()
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u64, BufResult<usize, B>)>> {
        while !self.free.is_empty()
            && let Some(offset) = self.offsets.next()
            && let Some(buf) = self.free.pop()
        {
            let mut read = self.file.read_at(buf, offset);
            // Nobody is woken for it before it is the first.
            let done = match Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            };
            self.begun.push_back(Begun { offset, read, done });
        }
        let Some(first) = self.begun.front_mut() else {
            return Poll::Ready(None);
        };
        let done = match first.done.take() {
            Some(done) => done,
            None => ready!(Pin::new(&mut first.read).poll(cx)),
        };
        let offset = first.offset;
        self.begun.pop_front();
        Poll::Ready(Some((offset, done)))
    }
}

impl<I, B: IoBufMut> fmt::Debug for ReadMany<'_, I, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMany")
            .field("in_flight", &self.begun.len())
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}

/// A block that was read: its bytes. Once dropped, its buffer is read into again.
pub struct Block<'r, B: IoBufMut> {
    offset: u64,
    len: usize,
    /// Taken only as this goes.
    buf: Option<B>,
    free: &'r mut Vec<B>,
}

impl<B: IoBufMut> Block<'_, B> {
    /// Where in the file it begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the block's buffer and leaves another in its place: to write it elsewhere while more is read, say.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-block-{}", std::process::id()));
    /// use runtime::fs::File;
    /// # std::fs::write(&path, vec![7; 100_000])?;
    /// let from = File::open(&path).await?;
    /// # let path = path.with_extension("copy");
    /// let to = File::create(&path).await?;
    /// let buffer = || Vec::with_capacity(16 * 1024);
    /// let mut spare = buffer();
    /// let mut blocks = from.read_many((0..100_000).step_by(16 * 1024), [buffer(), buffer()]);
    /// while let Some(block) = blocks.next().await {
    ///     let block = block?;
    ///     let offset = block.offset();
    ///     let written;
    ///     (written, spare) = to.write_all_at(block.replace(spare), offset).await;
    ///     written?;
    /// }
    /// assert_eq!(std::fs::read(&path)?, vec![7; 100_000]);
    /// # std::fs::remove_file(&path)?;
    /// # std::fs::remove_file(path.with_extension(""))?;
    /// # Ok(()) }) }
    /// ```
    pub fn replace(mut self, other: B) -> B {
        match self.buf.replace(other) {
            Some(buf) => buf,
            None => unreachable!("there until it is dropped"),
        }
    }
}

impl<B: IoBufMut> Deref for Block<'_, B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // A buffer that was read into tells at least so many bytes; one of fixed size tells all.
        self.buf
            .as_ref()
            .map_or(&[], |buf| &buf.as_bytes()[..self.len])
    }
}

impl<B: IoBufMut> Drop for Block<'_, B> {
    fn drop(&mut self) {
        self.free.extend(self.buf.take());
    }
}

impl<B: IoBufMut> fmt::Debug for Block<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
