//! The smallest program: a runtime, a task, a timer, and a connection to oneself.
//!
//! ```sh
//! cargo run --release --example hello
//! ```

use std::io;
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream};
use runtime::time::sleep;

#[runtime::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;

    let greeter = runtime::spawn(async move {
        let (stream, peer) = listener.accept().await?;
        println!("greeter: {peer} has come");
        sleep(Duration::from_millis(10)).await;
        // A buffer moves into the operation and comes back with the result; this one is not needed again.
        let (result, _) = stream.write_all("hello from the ring").await;
        result
    });

    let stream = TcpStream::connect(addr).await?;
    let (result, buf) = stream.read(Vec::with_capacity(64)).await;
    result?;
    println!("main: got {:?}", String::from_utf8_lossy(&buf));

    greeter.await?
}
