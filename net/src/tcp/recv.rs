//! Receiving into the runtime's buffers. Into one's own: [`stream`](super::stream).

use annulet_driver::Op;
use annulet_driver::op::RecvChunk;

use crate::TcpStream;
use crate::chunks::Chunks;
use crate::connection::Connection;

impl TcpStream {
    /// Receives what there is, or what comes first, into a buffer of the runtime's, which the kernel picks when data
    /// arrives: a stream that waits holds none. An empty [`Chunk`](annulet_driver::buf::Chunk) means that the peer has
    /// ended its side.
    ///
    /// Made for servers with many connections. Bytes that are to end up in memory of your own are better
    /// [read](TcpStream::read) there. [`chunks`](TcpStream::chunks) is the same again and again, for less.
    ///
    /// A chunk has 16 KiB at most, or what [`Setup::chunk_size`](annulet_driver::Setup::chunk_size) says. Goes through the
    /// ring: `IORING_OP_RECV` with a provided buffer, Linux 5.19, or the one in user space. Without those (an older kernel,
    /// [switched off](annulet_driver::Setup::provided_buffers)) it holds a buffer of the same pool while it waits.
    ///
    /// # Errors
    ///
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: bytes it receives go to the next read, of whichever kind.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// An echo that copies nothing:
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::TcpStream;
    ///
    /// async fn echo(stream: TcpStream) -> std::io::Result<()> {
    ///     loop {
    ///         let chunk = stream.recv().await?;
    ///         if chunk.is_empty() {
    ///             return Ok(());
    ///         }
    ///         stream.write_all(chunk).await.0?;
    ///     }
    /// }
    /// # let listener = runtime::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (stream, _) = listener.accept().await?;
    /// let echoing = runtime::spawn(echo(stream));
    /// peer.write_all("hello").await.0?;
    /// assert_eq!(peer.read_exact([0; 5]).await.1, *b"hello");
    /// drop(peer);
    /// echoing.await.unwrap()?;
    /// # Ok(()) }) }
    /// ```
    pub fn recv(&self) -> Op<RecvChunk> {
        Connection::recv(self)
    }

    /// All that is received from here on, chunk by chunk, by one submission: see [`Chunks`].
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks::of(self)
    }
}
